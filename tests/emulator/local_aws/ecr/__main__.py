from local_aws.ecr.server import main

main()
