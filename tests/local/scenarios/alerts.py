"""The alerts of all scenarios before, as their subscribers have them. Runs last."""

from __future__ import annotations

import json

from local_aws.findings import basic
from scenarios.world import Observed, Scenario, World, observe


def both_subscribers(world: World) -> Observed:
    world.push_and_scan("team/told", basic("CVE-2026-9001", "HIGH", "libexpat"))
    documents = world.stack.received()
    mails = world.stack.mails()
    queued = sorted(document["id"] for document in documents)
    mailed = sorted(json.loads(mail["bodies"]["default"])["id"] for mail in mails)
    formats = [(mail, json.loads(mail["bodies"]["default"])) for mail in mails]
    unreadable = [
        document["id"]
        for mail, document in formats
        if mail["email"].lstrip().startswith("{") or (document["repository"] or document["region"]) not in mail["email"]
    ]
    subjects = [mail["subject"] for mail in mails if not (mail["subject"].isascii() and 0 < len(mail["subject"]) < 100)]
    long_texts = [document["id"] for mail, document in formats if not 0 < len(mail["bodies"].get("sms", "")) <= 140]
    return observe(
        alerts=len(mails),
        queue_and_mail_agree=(queued == mailed, True),
        schemas=(sorted({document["schema"] for document in documents}), ["ecr-guard/alert/v2"]),
        mails_not_for_people=(unreadable, []),
        bad_subjects=(subjects, []),
        bad_text_messages=(long_texts, []),
    )


SCENARIOS = [
    Scenario(
        "alerts-reach-every-subscriber",
        "the queue has the JSON document, e-mail a text for people, SMS a short one",
        both_subscribers,
    ),
]
