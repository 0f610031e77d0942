"""Amazon ECR: moto's, extended by what moto does not have.

``python -m local_aws.ecr --port PORT`` serves it. ``tests/emulator/README.md`` lists its additions, and where it differs from
AWS.
"""
