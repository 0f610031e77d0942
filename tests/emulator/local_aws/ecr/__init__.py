"""Amazon ECR: moto's, extended by what moto does not have.

``python -m local_aws.ecr --port PORT`` serves it. What is added, and where it differs from AWS, is in ``tests/emulator/README.md``.
"""
