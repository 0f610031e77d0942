"""Amazon ECR for the local run: moto's ECR, extended by what ecr-guard relies on and moto does not have.

``python -m moto_ecr --port PORT`` serves it. What is added, and where it differs from AWS, is in ``tests/local/README.md``.
"""
