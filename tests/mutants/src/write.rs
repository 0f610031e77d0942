//! The source text with its mutants. Lines stay where they are. Comments say which mutant a text is of, so that one that does not compile is found.

use crate::find::{Change, Piece, Place};

/// The text with these places, which are in order.
pub(crate) fn text(source: &str, places: &[Place]) -> String {
    Writer { source, places }.piece(&(0..source.len()), 0)
}

struct Writer<'a> {
    source: &'a str,
    places: &'a [Place],
}

fn if_chosen(number: usize, text: &str) -> String {
    format!("/*<{number}*/if crate::mutant({number}) {{ {text} }}/*{number}>*/ ")
}

impl Writer<'_> {
    /// A piece, with the places in it from this one on.
    fn piece(&self, piece: &Piece, from: usize) -> String {
        let mut written = String::new();
        let mut at = piece.start;
        for (number, place) in (from..).zip(self.places.iter().skip(from)) {
            if place.piece.start >= piece.end {
                break;
            }
            if place.piece.start < at || place.piece.end > piece.end {
                continue;
            }
            written.push_str(self.source.get(at..place.piece.start).unwrap_or_default());
            written.push_str(&self.place(place, number + 1));
            at = place.piece.end;
        }
        written.push_str(self.source.get(at..piece.end).unwrap_or_default());
        written
    }

    fn place(&self, place: &Place, next: usize) -> String {
        match &place.change {
            Change::Value { values, is_iterator } => {
                let returned = |value: &str| match is_iterator {
                    true => format!("return crate::Switched::Value(Vec::from_iter({value}).into_iter());"),
                    false => format!("return {value};"),
                };
                let switches = values
                    .iter()
                    .map(|(number, value)| if_chosen(*number, &returned(value)));
                switches.collect::<String>() + if *is_iterator { "crate::Switched::Own({" } else { "" }
            }
            Change::EndOfIterator => "})".to_owned(),
            Change::Operator {
                left,
                right,
                others,
                is_logical,
            } => {
                let operator = self.source.get(left.end..right.start).unwrap_or_default();
                let (mut first, second) = (self.piece(left, next), self.piece(right, next));
                // The text of a long chain would double with each link.
                let before = if *is_logical {
                    let bound = format!("match {first} {{ __left => ");
                    "__left".clone_into(&mut first);
                    bound
                } else {
                    String::new()
                };
                let after = if *is_logical { " }" } else { "" };
                let changed: String = others
                    .iter()
                    .map(|(number, other)| if_chosen(*number, &format!("{first} {other} {second}")) + "else ")
                    .collect();
                format!("({before}{changed}{{ {first}{operator}{second} }}{after})")
            }
            Change::Prefix { operand, number } => {
                let operator = self.source.get(place.piece.start..operand.start).unwrap_or_default();
                let operand = self.piece(operand, next);
                format!("({}else {{ {operator}{operand} }})", if_chosen(*number, &operand))
            }
            Change::Guard {
                guard,
                deleted,
                always,
                never,
            } => {
                let not = |number: &Option<usize>| {
                    number.map_or_else(String::new, |number| {
                        format!("/*<{number}*/!crate::mutant({number})/*{number}>*/ && ")
                    })
                };
                let Some(guard) = guard else {
                    return format!(" if {}true", not(deleted));
                };
                let or = always.map_or_else(String::new, |number| {
                    format!("/*<{number}*/crate::mutant({number})/*{number}>*/ || ")
                });
                format!("{}({or}{}({}))", not(deleted), not(never), self.piece(guard, next))
            }
            Change::Field {
                name,
                value,
                base,
                number,
            } => {
                let base = self.source.get(base.clone()).unwrap_or_default();
                let value = value
                    .as_ref()
                    .map_or_else(|| name.clone(), |value| self.piece(value, next));
                format!(
                    "{name}: {}else {{ {value} }}",
                    if_chosen(*number, &format!("({base}).{name}"))
                )
            }
        }
    }
}
