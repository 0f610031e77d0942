//! The function `gate`. It changes nothing, so that to invoke it is a read.

use std::time::Duration;

use guard_core::release::identity::function_and_alias;
use guard_ports::Retry;
use tokio::runtime::Runtime;

use super::{
    identity::Identity,
    invoke::{ALIAS, MISSING, NoAnswer, invoke},
};
use crate::{
    gate::{Gatekeeper, Silence},
    ledgers::{NotRead, Place},
};

/// The time for one question, its attempts included. The function itself answers within 30 seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The function, in the caller's name.
pub(super) struct AwsGatekeeper {
    runtime: Runtime,
    identity: Identity,
}

impl AwsGatekeeper {
    pub(super) fn new(place: &Place) -> Result<Self, NotRead> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let identity = runtime.block_on(Identity::load(place))?;
        Ok(Self { runtime, identity })
    }
}

impl Gatekeeper for AwsGatekeeper {
    fn ask(&self, function: &str, request: &str) -> Result<String, Silence> {
        let (_, alias) = function_and_alias(function);
        let qualifier = alias.is_none().then_some(ALIAS);
        let asked = invoke(&self.identity.config, function, qualifier, request.to_owned());
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_WITHIN, asked).await });
        match answered {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(NoAnswer::Call(error))) => Err(Silence {
                is_final: error.retry == Retry::Never || is_without_credentials(&error.message),
                why: if error.code == MISSING {
                    let region = &self.identity.region;
                    format!(
                        "there is no function `{function}` in {region}: the gate is not deployed there (`gate = {{}}`), or give --function"
                    )
                } else {
                    self.identity.failed(&error).to_string()
                },
            }),
            Ok(Err(NoAnswer::Failed(why))) => Err(Silence {
                why: format!("the function failed: {why}"),
                is_final: false,
            }),
            Err(_) => Err(Silence {
                why: format!("no answer came within {} seconds", ANSWER_WITHIN.as_secs()),
                is_final: false,
            }),
        }
    }

    fn pause(&self, time: Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
    }
}

/// To wait brings no credentials.
fn is_without_credentials(message: &str) -> bool {
    message.contains("credential")
}
