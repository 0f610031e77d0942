from moto_ecr.server import main

main()
