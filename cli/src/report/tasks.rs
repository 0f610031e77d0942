//! The first tasks: images with the same finding in one repository are one task.

use std::collections::BTreeMap;

use guard_core::{calendar::date, text};

use crate::table::count;

use super::model::{Image, MAX_TASKS, Report, SOON_DAYS, Task, words};

/// Finds the tasks of a report, worst first.
pub(super) fn add(report: &mut Report) {
    let mut tasks = of_data(report);
    tasks.extend(of_images(report));
    tasks.extend(of_copies(report));
    tasks.extend(of_exceptions(report));
    report.more_tasks = tasks.len().saturating_sub(MAX_TASKS) as u64;
    tasks.truncate(MAX_TASKS);
    report.tasks = tasks;
}

/// The facts that are not known because sweeps do not run.
fn of_data(report: &Report) -> Vec<Task> {
    let late = report.freshness.iter().filter(|one| one.what.starts_with("sweep of "));
    let late = late.filter_map(|one| Some((one, one.trouble.as_ref()?)));
    let task = |(one, trouble): (&super::model::Freshness, &String)| Task {
        who: "operators".to_owned(),
        contact: None,
        what: format!("repair the {}", one.what),
        because: match one.at {
            Some(_) => "the last one is too old, so that this report is too".to_owned(),
            None => "there was none yet".to_owned(),
        },
        how: trouble.clone(),
        since: one.at,
        due: None,
        images: 0,
        anchor: None,
    };
    late.map(task).collect()
}

/// Images of one repository with the same state and deciding finding.
type Group<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn of_images(report: &Report) -> Vec<Task> {
    let mut order: Vec<Group<'_>> = Vec::new();
    let mut groups: BTreeMap<Group<'_>, Vec<&Image>> = BTreeMap::new();
    for image in report.images.iter().filter(|image| image.needs_action) {
        let finding = image.findings.first().map_or("", |finding| &finding.id);
        let group = (
            image.account.as_str(),
            image.region.as_str(),
            image.repository.as_str(),
            image.state,
            finding,
        );
        groups
            .entry(group)
            .or_insert_with(|| {
                order.push(group);
                Vec::new()
            })
            .push(image);
    }
    let all = order.iter().filter_map(|group| groups.get(group));
    all.filter_map(|images| of_group(report, images)).collect()
}

fn of_group(report: &Report, images: &[&Image]) -> Option<Task> {
    let first = images.first()?;
    let others = images.len().saturating_sub(1);
    let name = match others {
        0 => first.name(),
        1 => format!("{} and 1 more image of it", first.name()),
        _ => format!("{} and {others} more images of it", first.name()),
    };
    let verb = match first.state {
        "Blocked" => "deploy another image than",
        "BlockDeferred" => "replace",
        "Review" => "review",
        "Unscannable" | "Stale" => "rebuild, so that it can be scanned,",
        "Pending" => "find out why there is no scan of",
        _ => "find out why nobody has evaluated",
    };
    let used = first.used_by.as_deref().unwrap_or_default();
    let used = match (used.len(), first.asked_for_by.first()) {
        (_, Some(who)) => format!(", {who} could not pull it"),
        (0, None) => String::new(),
        (1, None) => ", 1 workload uses it".to_owned(),
        (number, None) => format!(", {number} workloads use it"),
    };
    let because = match first.findings.first() {
        Some(finding) => format!("{} {}{used}", finding.severity, finding.id),
        None => format!("{}{used}: {}", words(first.state), first.reason),
    };
    let how = match first.fixes.as_slice() {
        [] if first.findings.is_empty() => "see the image below".to_owned(),
        [] => "no fix is known: see the image below".to_owned(),
        fixes => format!("update {}", fixes.join(", ")),
    };
    let team = report.teams.iter().find(|team| team.name == first.team);
    Some(Task {
        who: first.team.clone(),
        contact: team.and_then(|team| team.contact.clone()),
        what: format!("{verb} {name}"),
        because: text::line(&because, 300),
        how,
        since: first.since,
        due: images.iter().filter_map(|image| image.until).min().map(date),
        images: images.len() as u64,
        anchor: Some(first.anchor()),
    })
}

fn of_copies(report: &Report) -> Vec<Task> {
    let not_ready = report.copies.iter().filter(|copies| !copies.ready);
    let task = |one: &super::model::Copies| Task {
        who: "operators".to_owned(),
        contact: None,
        what: format!("complete the copies from {} to {}", one.from, one.to),
        because: format!("{} of {} images are there", one.present, one.expected),
        how: "see the copies below".to_owned(),
        since: None,
        due: None,
        images: one.expected.saturating_sub(one.present),
        anchor: Some("copies".to_owned()),
    };
    not_ready.map(task).collect()
}

fn of_exceptions(report: &Report) -> Vec<Task> {
    let ending = report.exceptions.iter().filter(|one| one.days_left <= SOON_DAYS);
    let task = |one: &super::model::Exception| Task {
        who: one.owner.clone(),
        contact: None,
        what: format!("renew or remove {}", one.name),
        because: match one.days_left {
            days if days < 0 => format!("it ended on {}", one.last_day),
            _ => format!("its last day is {}", one.last_day),
        },
        how: match one.images {
            Some(0) => "no image needs it: remove it".to_owned(),
            Some(number) => format!("fix {} in {} before it ends", one.vulnerability, count(number, "image")),
            None => "see how many images need it".to_owned(),
        },
        since: None,
        due: Some(one.last_day.clone()),
        images: one.images.unwrap_or_default(),
        anchor: Some("exceptions".to_owned()),
    };
    ending.map(task).collect()
}
