//! Actors over one world, in any order, cut at any call.

use std::{fmt, pin::Pin};

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{Fault, World, poll_once},
    Choices, Story,
};
use guard_ports::{Clock as _, Retry};

/// The action, once begun.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// How often Lambda tries an asynchronous event ("Configuring error handling settings": twice again by default), and after which time
/// it tries again: a minute, then two.
const ATTEMPTS: usize = 3;

/// A call takes two polls: one before it has its effect, one after.
const MOST_POLLS: usize = 80;

/// Something that happens in a scenario.
pub struct Act<'a> {
    name: String,
    after: Vec<usize>,
    /// How long an attempt may take, where it is an event that Lambda hands to a function.
    limit: Option<SignedDuration>,
    lossy: bool,
    begin: Box<dyn Fn() -> Running<'a> + 'a>,
}

impl fmt::Debug for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Act").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Act<'a> {
    /// An action on the world, at one go and once: of a person, a pipeline, or AWS itself.
    pub fn deed(name: impl Into<String>, deed: impl Fn() + 'a) -> Self {
        let deed = std::rc::Rc::new(deed);
        Self::new(name, None, false, move || {
            let deed = deed.clone();
            Box::pin(async move {
                deed();
                Ok(())
            })
        })
    }

    /// The same in several calls, between which others act.
    pub fn work(name: impl Into<String>, begin: impl Fn() -> Running<'a> + 'a) -> Self {
        Self::new(name, None, false, begin)
    }

    /// An event: it may get lost, come twice, fail, be cut off at any call, and is tried again as Lambda does.
    pub fn event(name: impl Into<String>, begin: impl Fn() -> Running<'a> + 'a) -> Self {
        Self::new(name, Some(SignedDuration::from_secs(30)), true, begin)
    }

    /// A message of a queue, or what a schedule starts: like an event, but never lost.
    pub fn message(name: impl Into<String>, begin: impl Fn() -> Running<'a> + 'a) -> Self {
        Self::new(name, Some(SignedDuration::from_secs(300)), false, begin)
    }

    /// It cannot come before these, by their places in the list.
    #[must_use]
    pub fn after(mut self, places: &[usize]) -> Self {
        self.after.extend(places);
        self
    }

    fn new(
        name: impl Into<String>,
        limit: Option<SignedDuration>,
        lossy: bool,
        begin: impl Fn() -> Running<'a> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            after: Vec::new(),
            limit,
            lossy,
            begin: Box::new(begin),
        }
    }
}

/// An act that has not begun, or is to be tried again.
struct Waiting {
    act: usize,
    attempt: usize,
    not_before: Option<Timestamp>,
}

/// An attempt that stands between two calls while others go on.
struct Paused<'a> {
    act: usize,
    attempt: usize,
    began: Timestamp,
    running: Running<'a>,
}

/// The fate of an attempt from here on.
enum Fate {
    End,
    Pause(usize),
    Crash(usize),
    Fault(usize, Fault),
}

/// Lets everything happen: by the plain answers in the order of the list, each at one go; otherwise in any order that their
/// dependencies allow, with events lost and repeated, attempts cut off or interrupted at any call, and calls that fail.
pub fn play(world: &World, acts: &[Act<'_>], choices: &mut Choices, story: &mut Story) {
    let mut waiting: Vec<Waiting> = (0..acts.len())
        .map(|act| Waiting {
            act,
            attempt: 1,
            not_before: None,
        })
        .collect();
    let mut paused: Vec<Paused<'_>> = Vec::new();
    let mut done = vec![false; acts.len()];
    loop {
        let is_ready = |waiting: &Waiting| {
            let after = acts.get(waiting.act).map(|act| &act.after[..]).unwrap_or_default();
            after.iter().all(|place| done.get(*place) == Some(&true))
        };
        let ready: Vec<usize> = (0..waiting.len())
            .filter(|place| waiting.get(*place).is_some_and(is_ready))
            .collect();
        if ready.is_empty() && paused.is_empty() {
            break;
        }
        let chosen = choices.below(ready.len() + paused.len());
        let next = match ready.get(chosen) {
            Some(place) => {
                let next = waiting.remove(*place);
                let act = acts.get(next.act).expect("it is one of them");
                if act.lossy && next.attempt == 1 {
                    match choices.below(16) {
                        14 => {
                            story.count("lost", 1);
                            story.line(|| format!("{}: the event is lost", act.name));
                            if let Some(done) = done.get_mut(next.act) {
                                *done = true;
                            }
                            continue;
                        }
                        15 => {
                            story.count("repeated", 1);
                            story.line(|| format!("{}: the event comes twice", act.name));
                            waiting.push(Waiting {
                                not_before: None,
                                // It is not repeated again.
                                attempt: 2,
                                act: next.act,
                            });
                        }
                        _ => {}
                    }
                }
                let began = (world.now() + SignedDuration::from_secs(1)).max(next.not_before.unwrap_or(Timestamp::MIN));
                world.set_now(began);
                Paused {
                    act: next.act,
                    attempt: next.attempt,
                    began,
                    running: (act.begin)(),
                }
            }
            None => paused.remove(chosen - ready.len()),
        };
        let act = acts.get(next.act).expect("it is one of them");
        let late = act
            .limit
            .is_some_and(|limit| world.now().duration_since(next.began) > limit);
        let fate = if late { Fate::Crash(0) } else { fate(act, choices) };
        let ended = go_on(world, act, next, fate, story, &mut paused);
        let Some((place, attempt, succeeded)) = ended else {
            continue;
        };
        if !succeeded && attempt < ATTEMPTS && act.limit.is_some() {
            let minutes = i64::try_from(attempt).unwrap_or(1);
            waiting.push(Waiting {
                act: place,
                attempt: attempt + 1,
                not_before: Some(world.now() + SignedDuration::from_mins(minutes)),
            });
        } else if let Some(done) = done.get_mut(place) {
            *done = true;
        }
    }
}

fn fate(act: &Act<'_>, choices: &mut Choices) -> Fate {
    let polls = |choices: &mut Choices| 1 + choices.below(MOST_POLLS);
    match (choices.below(10), act.limit) {
        (6 | 7, _) => Fate::Pause(polls(choices)),
        (8, Some(_)) => Fate::Crash(polls(choices)),
        (9, Some(_)) => {
            let calls = choices.below(MOST_POLLS / 2);
            // Throttled, or its answer lost. A refusal is no matter of order: what was refused once may wait for its turn.
            let fault = if choices.one_in(2) {
                Fault::After(Retry::Later)
            } else {
                Fault::Before(Retry::Later)
            };
            Fate::Fault(calls, fault)
        }
        _ => Fate::End,
    }
}

/// Goes on with an attempt as far as its fate lets it. `None`: it stands, and is with those that are paused; otherwise which act it was,
/// which attempt, and whether it succeeded.
fn go_on<'a>(
    world: &World,
    act: &Act<'a>,
    mut next: Paused<'a>,
    fate: Fate,
    story: &mut Story,
    paused: &mut Vec<Paused<'a>>,
) -> Option<(usize, usize, bool)> {
    let polls = match &fate {
        Fate::End | Fate::Fault(..) => usize::MAX,
        Fate::Pause(polls) | Fate::Crash(polls) => *polls,
    };
    let before = world.calls_made();
    world.go_on_with(next.began);
    if let Fate::Fault(calls, fault) = &fate {
        world.fail_after(Some((*calls, fault.clone())));
    }
    let mut output = None;
    for _ in 0..polls {
        if let std::task::Poll::Ready(ended) = poll_once(&mut next.running.as_mut()) {
            output = Some(ended);
            break;
        }
    }
    world.fail_after(None);
    let (place, attempt) = (next.act, next.attempt);
    let calls = world.calls_made() - before;
    story.count("calls", calls);
    let at = world.now();
    let mut line = |what: &str| story.line(|| format!("{at} {}, attempt {attempt}: {calls} calls, {what}", act.name));
    match (output, fate) {
        (Some(Ok(())), _) => {
            line("done");
            Some((place, attempt, true))
        }
        (Some(Err(error)), fate) => {
            line(&format!("failed: {error}"));
            story.count("failed", 1);
            story.count("of them by a fault", usize::from(matches!(fate, Fate::Fault(..))));
            // The read after a change showed that somebody had undone it.
            story.count("of them undone", usize::from(error.contains("is not as it was made")));
            Some((place, attempt, false))
        }
        (None, Fate::Pause(_)) => {
            line("stands");
            story.count("interrupted", 1);
            paused.push(next);
            None
        }
        (None, Fate::End | Fate::Crash(_) | Fate::Fault(..)) => {
            line("cut off");
            story.count("cut off", 1);
            Some((place, attempt, false))
        }
    }
}
