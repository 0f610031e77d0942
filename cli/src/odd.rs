//! Odd inputs by the thousand: a clear error or an answer, and never a panic. The same every time.

use crate::{
    OK, REFUSED, UNUSABLE,
    testing::{Desk, IN_FORCE, desk, small_ledger, snapshot},
};

/// Numbers that only look random (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    /// The bytes with one to four mistakes in them: a bit, a byte less or more, an end that is missing, a part that is there twice.
    fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.roll(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 => bytes[at] ^= 1 << self.roll(8),
                1 => {
                    bytes.remove(at);
                }
                2 => bytes.insert(at, u8::try_from(self.roll(256)).unwrap()),
                3 if self.roll(4) == 0 => bytes.truncate(at),
                _ => {
                    let end = bytes.len().min(at + 1 + self.roll(40));
                    let part = bytes[at..end].to_vec();
                    let place = self.roll(bytes.len());
                    bytes.splice(place..place, part);
                }
            }
        }
        bytes
    }
}

/// Runs a command, and holds it to a code of these, with a sentence where it cannot be carried out.
#[track_caller]
fn held(desk: &Desk, words: &[&str], codes: &[u8]) -> u8 {
    let (code, out, trouble) = desk.run_with(&[&["ecr-guard"], words].concat());
    assert!(codes.contains(&code), "{words:?}: {code}, {trouble}");
    assert!(code != UNUSABLE || !trouble.is_empty(), "{words:?} says nothing");
    let is_plain = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    assert!(is_plain(&trouble) && is_plain(&out), "{words:?}: {trouble:?} {out:?}");
    code
}

#[test]
fn names_of_images() {
    let digest = format!("sha256:b1{}", "0".repeat(62));
    let names = [
        "team/api:v1.2.3".to_owned(),
        format!("team/api@{digest}"),
        format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:v1.2.3@{digest}"),
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/pay/web:v7".to_owned(),
        digest,
    ];
    let (desk, mut dice) = (desk(), Dice(7));
    let mut found = 0;
    for n in 0..2000 {
        let name = dice.mutated(names[n % names.len()].as_bytes());
        let name = String::from_utf8_lossy(&name);
        let words = ["explain", "--snapshot", "ledger.jsonl", "--", name.as_ref()];
        found += u32::from(held(&desk, &words, &[OK, UNUSABLE]) == OK);
    }
    assert!(found < 1000, "{found} odd names name an image");
}

#[test]
fn snapshots() {
    let (bytes, mut dice) = (snapshot(&small_ledger()), Dice(11));
    let mut read = 0;
    for n in 0..1500 {
        let desk = desk();
        desk.put("odd.jsonl", dice.mutated(&bytes));
        let command = [
            &["status"][..],
            &["list"],
            &["plan", "--all"],
            &["simulate", "stricter.json"],
            &["explain", "team/api:v1.2.3"],
            &["report", "--csv", "odd.csv"],
        ][n % 6];
        let words = [command, &["--snapshot", "odd.jsonl"]].concat();
        // A report says what it has written where others say what is wrong.
        if command[0] == "report" {
            let (code, _, _) = desk.run_with(&[&["ecr-guard"], words.as_slice()].concat());
            assert!([OK, UNUSABLE].contains(&code));
        } else {
            read += u32::from(held(&desk, &words, &[OK, UNUSABLE]) == OK);
        }
    }
    assert!(read > 0, "a mistake within a text is none");
}

#[test]
fn policies() {
    let mut dice = Dice(13);
    let mut codes = [0_u32; 3];
    for n in 0..3000 {
        let desk = desk();
        desk.put("odd.json", dice.mutated(IN_FORCE.as_bytes()));
        let code = match n % 3 {
            0 => held(&desk, &["policy", "check", "odd.json"], &[OK, REFUSED, UNUSABLE]),
            1 => held(
                &desk,
                &["policy", "diff", "stricter.json", "odd.json"],
                &[OK, REFUSED, UNUSABLE],
            ),
            _ => held(
                &desk,
                &["simulate", "--snapshot", "ledger.jsonl", "odd.json"],
                &[OK, UNUSABLE],
            ),
        };
        codes[usize::from(code)] += 1;
    }
    assert!(codes.iter().all(|number| *number > 0), "{codes:?}");
}
