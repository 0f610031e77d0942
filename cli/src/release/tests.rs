use std::sync::Mutex;

use guard_core::{
    release::{Requester, answer::ReleaseRefusal},
    testing::{image, image_key, now},
};

use super::*;
use crate::testing::{Desk, said};

/// A function with this answer, and a registry that shows the image after some reads.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) answer: ReleaseAnswer,
    pub(crate) looks: Mutex<u32>,
    pub(crate) asked: Mutex<Vec<(String, AskedRelease)>>,
}

impl Operator for std::sync::Arc<Fake> {
    fn registry(&self) -> Result<(AccountId, Region), NotRead> {
        Ok((image_key().account, image_key().region))
    }

    fn image(&self, _: &AccountId, repository: &RepositoryName, of: &ImageRef) -> Result<Option<Image>, NotRead> {
        if *repository != image_key().repository || *of == ImageRef::Tag("v9".parse().unwrap()) {
            return Ok(None);
        }
        let mut looks = self.looks.lock().unwrap();
        *looks = looks.saturating_sub(1);
        let status = if *looks == 0 {
            ImageStatus::Active
        } else {
            ImageStatus::Activating
        };
        Ok(Some(Image {
            status,
            ..image(&image_key())
        }))
    }

    fn ask(&self, _: &AccountId, function: &str, asked: &AskedRelease, _: Timestamp) -> Result<ReleaseAnswer, NotRead> {
        self.asked.lock().unwrap().push((function.to_owned(), asked.clone()));
        Ok(self.answer.clone())
    }

    fn pause(&self, _: Duration) {}
}

fn with(answer: ReleaseAnswer) -> (Desk, std::sync::Arc<Fake>) {
    let fake = std::sync::Arc::new(Fake {
        answer: ReleaseAnswer {
            by: Some(Requester {
                account: image_key().account,
                name: "role/oncall".to_owned(),
                session: Some("alice".to_owned()),
            }),
            ..answer
        },
        looks: Mutex::new(4),
        asked: Mutex::default(),
    });
    let desk = Desk {
        operator: Some(fake.clone()),
        ..Desk::default()
    };
    (desk, fake)
}

const GIVE: [&str; 8] = [
    "release",
    "pipeops-prod-api:v1.2.3",
    "--hours",
    "4",
    "--reason",
    "checkout is down",
    "--ticket",
    "SEC-77",
];

#[test]
fn a_release_is_asked_for_by_digest_and_says_what_follows() {
    let released = ReleaseAnswer {
        restoring: true,
        ..ReleaseAnswer::released(now() + SignedDuration::from_hours(4))
    };
    let (desk, fake) = with(released);
    let (code, out, trouble) = said(&desk, &GIVE);
    assert_eq!((code, trouble.as_str()), (OK, ""));
    insta::assert_snapshot!(out);
    let asked = fake.asked.lock().unwrap();
    let (function, asked) = &asked[0];
    let digest = image_key().digest;
    assert_eq!(function, "ecr-guard-operate");
    assert_eq!(
        (asked.action, asked.hours, asked.ticket.as_deref()),
        (Verb::Release, Some(4), Some("SEC-77"))
    );
    assert!(
        asked.image.ends_with(&format!("pipeops-prod-api@{digest}")),
        "{}",
        asked.image
    );
}

#[test]
fn it_waits_until_the_image_can_be_pulled() {
    let (desk, fake) = with(ReleaseAnswer::released(now() + SignedDuration::from_hours(4)));
    let (code, _, trouble) = said(&desk, &[&GIVE[..], &["--wait"]].concat());
    assert_eq!(code, OK);
    assert_eq!(trouble, "ECR restores it; waited 0 min.\nIt can be pulled.\n");
    *fake.looks.lock().unwrap() = u32::MAX;
    let (code, _, trouble) = said(&desk, &[&GIVE[..], &["--wait"]].concat());
    assert_eq!(code, UNUSABLE);
    assert!(trouble.contains("after 25 minutes"), "{trouble}");
}

#[test]
fn a_release_is_ended() {
    let (desk, fake) = with(ReleaseAnswer::ended());
    let uri = format!(
        "{}/{}",
        registry_host(&image_key().account, &image_key().region),
        image_key()
    );
    let (code, out, _) = said(&desk, &["release", "--end", &uri]);
    assert_eq!(code, OK, "{out}");
    let asked = fake.asked.lock().unwrap();
    assert_eq!(
        (asked[0].1.action, asked[0].1.image.as_str()),
        (Verb::End, uri.as_str())
    );
}

#[test]
fn a_refusal_has_its_code_and_the_way_out() {
    for refusal in [
        ReleaseRefusal::NotAllowed("role/x is none of `release.principals`".to_owned()),
        ReleaseRefusal::TooLong(12),
        ReleaseRefusal::NoTicket,
        ReleaseRefusal::NotBlocked("Allowed", "No findings.".to_owned()),
    ] {
        let (desk, _) = with(ReleaseAnswer::refused(&refusal));
        let (code, out, _) = said(&desk, &GIVE);
        assert_eq!(code, REFUSED);
        assert!(
            out.starts_with(&format!("Refused ({}): {}", refusal.code(), refusal.reason())),
            "{out}"
        );
        assert!(out.contains(refusal.next()), "{out}");
    }
    let (desk, _) = with(ReleaseAnswer::unavailable("dynamodb:GetItem failed"));
    assert_eq!(said(&desk, &GIVE).0, UNUSABLE);
}

#[test]
fn each_outcome_has_its_text() {
    let answers = [
        ReleaseAnswer::released(now() + SignedDuration::from_hours(4)),
        ReleaseAnswer::ended(),
        ReleaseAnswer::refused(&ReleaseRefusal::NoTicket),
        ReleaseAnswer::refused(&ReleaseRefusal::TooLong(12)),
        ReleaseAnswer::unavailable("dynamodb:GetItem failed"),
    ];
    let texts = answers.map(|answer| said(&with(answer).0, &GIVE).1);
    insta::assert_snapshot!(texts.join("---\n"));
}

#[test]
fn what_names_no_image_is_said() {
    let (desk, _) = with(ReleaseAnswer::ended());
    for (name, says) in [
        ("Team/API:v1", "is no image"),
        ("pipeops-prod-api@sha256:", "is no image"),
        ("https://example.org/a", "is no image"),
        ("pipeops-prod-api:v9", "No image of `pipeops-prod-api` has the tag `v9`"),
    ] {
        let (code, _, trouble) = said(&desk, &["release", "--end", name]);
        assert_eq!(code, UNUSABLE, "{name}");
        assert!(trouble.contains(says), "{name}: {trouble}");
    }
}
