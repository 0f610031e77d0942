# A service of ECS whose deployments ask the gate: what may not be deployed never gets production's traffic.

provider "aws" {
  region = "us-west-2"
}

module "guard" {
  source = "../../modules/guard"

  routes              = { default = [{ protocol = "email", endpoint = "security@example.com" }] }
  alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  lambda_directory    = var.lambda_directory
  gate                = {}
}

resource "aws_ecs_service" "api" {
  name            = "api"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.api.arn
  desired_count   = 2
  launch_type     = "FARGATE"

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = var.security_group_ids
  }

  deployment_controller {
    type = "ECS"
  }

  deployment_configuration {
    strategy             = "BLUE_GREEN"
    bake_time_in_minutes = 5

    # ECS asks before tasks of the new revision start, and again when they have: a tag may name another image by then.
    lifecycle_hook {
      hook_target_arn  = module.guard.gate_arn
      role_arn         = aws_iam_role.hook.arn
      lifecycle_stages = ["PRE_SCALE_UP", "POST_SCALE_UP"]
      # How long a deployment waits for a result, and what follows then. Not every version of the provider has a timeout of a hook; ECS's own is 24 hours.
      hook_details = jsonencode({ give_up_minutes = 10, on_unavailable = "CONTINUE" })
    }
  }

  # Else the first deployment asks before ECS may invoke the gate.
  depends_on = [aws_iam_role_policy.hook]
}

resource "aws_ecs_task_definition" "api" {
  family                   = "api"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "256"
  memory                   = "512"
  execution_role_arn       = var.execution_role_arn

  container_definitions = jsonencode([{
    name                   = "api"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = "/ecs/api", awslogs-region = "us-west-2", awslogs-stream-prefix = "api" }
    }
  }])
}

# ECS takes this role to invoke the gate, and nothing else.
resource "aws_iam_role" "hook" {
  name = "api-gate"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "hook" {
  name   = "ask-the-gate"
  role   = aws_iam_role.hook.name
  policy = module.guard.gate_invoker_policy
}
