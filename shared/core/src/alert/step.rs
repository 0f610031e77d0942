//! A step for the reader: a sentence and, where there is one, a command.

use serde::Serialize;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextStep {
    /// The sentence.
    pub text: String,
    /// One complete command that does it, or that shows what is needed for it. It changes nothing that cannot be changed back.
    pub command: Option<String>,
}

/// Room for an AWS command with the longest repository name and digest.
pub(super) const MAX_COMMAND: usize = 800;

impl NextStep {
    /// A step without a command.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            command: None,
        }
    }

    /// A step with a command. A command that a shell would not take as it stands is left out: people paste it.
    pub fn run(text: impl Into<String>, command: impl Into<String>) -> Self {
        let command = Some(command.into()).filter(|command| can_be_pasted(command));
        Self {
            text: text.into(),
            command,
        }
    }
}

/// Whether a command is one line of words in which a shell finds nothing but words.
fn can_be_pasted(command: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./:@=,+%".contains(c);
    command.len() <= MAX_COMMAND && !command.is_empty() && command.chars().all(is_plain)
}

impl From<String> for NextStep {
    /// A sentence, whose command is behind it.
    fn from(text: String) -> Self {
        match text.split_once(": aws ") {
            Some((what, command)) => Self::run(format!("{what}:"), format!("aws {command}")),
            None => Self::new(text),
        }
    }
}

impl From<&str> for NextStep {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_that_a_shell_takes_as_it_stands_is_offered() {
        let command =
            "aws ecr describe-images --region us-west-2 --repository-name a/b --image-ids imageDigest=sha256:00";
        assert_eq!(NextStep::run("Look", command).command.as_deref(), Some(command));
        for odd in [
            "",
            "aws ecr x; rm -rf /",
            "aws `id`",
            "aws $(id)",
            "aws 'a'",
            "aws a\nid",
            "aws a > b",
            "aws <name>",
            "aws {}",
        ] {
            assert_eq!(NextStep::run("Look", odd), NextStep::new("Look"), "{odd}");
        }
        assert_eq!(NextStep::run("Look", "a".repeat(MAX_COMMAND + 1)).command, None);
    }
}
