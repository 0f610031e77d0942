//! The gate: whether images may be deployed. It only reads; the one thing that it sends is the alert about a refused deployment.

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::reconcile::image::{Hints, Request, preview, preview_with_tag};
use guard_core::{
    gate::{
        Answer, Asked, Known, answer,
        hook::{HookAnswer, HookRequest, HookStatus},
        refused,
    },
    ids::{AccountId, ImageRef, Region, RepositoryKey},
    policy::Policy,
};
use guard_ports::{Clock as _, Listing as _, Notifier as _, PortError, Revisions, Services};

/// The number of images that are checked at the same time.
const AT_ONCE: usize = 8;

/// The services and settings of one invocation.
#[derive(Debug)]
pub struct Gate<'a, S> {
    /// The world.
    pub services: &'a S,
    /// The policy.
    pub policy: &'a Policy,
    /// The account of the images.
    pub account: &'a AccountId,
    /// The region of its registry.
    pub region: &'a Region,
    /// The invocation.
    pub actor: &'a str,
}

/// The result of a hook, for the log.
#[derive(Debug)]
pub struct Hooked {
    /// The answer to ECS.
    pub answer: HookAnswer,
    /// The answer about the images, if they were checked.
    pub images: Option<Answer>,
    /// Why nothing was checked, or the failure.
    pub why: Option<String>,
    /// How many alerts were sent.
    pub alerts: u64,
    /// The alert that could not be sent.
    pub not_told: Option<PortError>,
}

impl Hooked {
    /// Nothing can be found out now.
    pub fn unavailable(hook: &HookRequest, why: &str, now: Timestamp) -> Self {
        let answer = match hook.passes() {
            Some(_) => HookAnswer::of(HookStatus::Succeeded),
            None => hook.waits(None, now),
        };
        Self::without(answer, why.to_owned())
    }

    fn without(answer: HookAnswer, why: String) -> Self {
        Self {
            answer,
            images: None,
            why: Some(why),
            alerts: 0,
            not_told: None,
        }
    }
}

impl<S: Services> Gate<'_, S> {
    /// The answer about these images. A call that fails makes it unavailable; it is never an error.
    pub async fn answer(&self, asked: &[Asked]) -> Answer {
        let looks = asked
            .iter()
            .map(|asked| async move { (asked, self.known(asked).await) });
        let known: Vec<(&Asked, Known)> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let now = self.services.clock().now();
        let images = known
            .iter()
            .map(|(asked, known)| answer(self.policy, now, asked, known));
        Answer::of(images.collect(), now)
    }

    async fn known(&self, asked: &Asked) -> Known {
        if asked.is_malformed {
            return Known::Malformed;
        }
        let Some(image) = &asked.image else {
            return Known::NotGuarded("it is of no private registry of ECR".to_owned());
        };
        if image.account != *self.account || image.region != *self.region {
            let why = format!("the registry of {} in {} is another one", image.account, image.region);
            return Known::NotGuarded(why);
        }
        if !self.services.registry().guards(&image.repository) {
            return Known::NotGuarded("its repository is not one of the guarded ones".to_owned());
        }
        let request = Request {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
            image: image.image.clone(),
            hints: Hints::default(),
            actor: self.actor.to_owned(),
        };
        let found = match (&image.image, &asked.tag) {
            (ImageRef::Digest(digest), Some(tag)) => {
                let tag = ImageRef::Tag(tag.clone());
                match preview_with_tag(self.services, self.policy, &request, tag).await {
                    Ok((_, tagged)) if tagged.as_ref() != Some(digest) => return Known::Moved(tagged),
                    Ok((seen, _)) => Ok(seen),
                    Err(error) => Err(error),
                }
            }
            (ImageRef::Digest(_) | ImageRef::Tag(_), _) => preview(self.services, self.policy, &request).await,
        };
        match found {
            Ok(Some(seen)) => Known::Image(Box::new(seen)),
            Ok(None) => Known::NotFound,
            Err(error) => Known::Unavailable(error.to_string()),
        }
    }

    /// The answer to a hook of ECS. It is never an error: that would roll the deployment back.
    pub async fn hook(&self, hook: &HookRequest, revisions: &impl Revisions) -> Hooked {
        let now = self.services.clock().now();
        if let Some(why) = hook.passes() {
            return Hooked::without(HookAnswer::of(HookStatus::Succeeded), why.to_owned());
        }
        let Some(target) = &hook.target else {
            return Hooked::without(hook.waits(None, now), "the revision is not named".to_owned());
        };
        let asked: Vec<Asked> = match revisions.images(target).await {
            Ok(images) => images.iter().map(|image| Asked::deployed(image)).collect(),
            Err(error) => return Hooked::without(hook.waits(None, now), error.to_string()),
        };
        if asked.is_empty() {
            return Hooked::without(hook.waits(None, now), "the revision shows no images".to_owned());
        }
        let images = self.answer(&asked).await;
        let answered = hook.answer(&images, self.services.clock().now());
        Hooked {
            answer: answered,
            images: Some(images),
            why: None,
            alerts: 0,
            not_told: None,
        }
    }

    /// Notifies the teams of the images why their deployment was refused. The answer to ECS does not depend on it.
    pub async fn tell_refused(&self, hook: &HookRequest, hooked: &mut Hooked) {
        // Also where a hook that waited long enough is to roll back: then nobody was refused for what is in an image.
        let Some(images) = &hooked.images else { return };
        if hooked.answer.hook_status != HookStatus::Failed {
            return;
        }
        let now = self.services.clock().now();
        for alert in refused::alerts(self.account, self.region, hook, images, now) {
            match self.tell(&alert.repository, &alert).await {
                Ok(_) => hooked.alerts += 1,
                Err(error) => hooked.not_told = Some(error),
            }
        }
    }

    /// Published at once: the budget of alerts is kept in the ledger, to which the gate does not write.
    async fn tell(
        &self,
        repository: &RepositoryKey,
        alert: &guard_core::alert::repository::RepositoryAlert,
    ) -> Result<String, PortError> {
        let topic = crate::route::topic(self.services, self.policy, repository).await;
        let message = alert.message(self.policy.contact(&repository.repository));
        self.services.notifier().publish(topic, &message).await
    }
}
