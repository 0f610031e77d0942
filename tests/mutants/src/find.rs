//! The places of mutants in a source file.

use std::{collections::BTreeMap, ops::Range};

use syn::{spanned::Spanned as _, visit::Visit};

use crate::listed::{Genre, Listed, Position};

/// A piece of source text, in bytes.
pub(crate) type Piece = Range<usize>;

/// An expression, or a point between two letters, with the mutants that change it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) piece: Piece,
    pub(crate) change: Change,
}

/// How a place is written with its mutants.
#[derive(Debug)]
pub(crate) enum Change {
    /// The function returns these values at once. An `impl Iterator` is one of two types.
    Value {
        values: Vec<(usize, String)>,
        is_iterator: bool,
    },
    /// The end of a function whose value is an `impl Iterator`.
    EndOfIterator,
    /// `left OPERATOR right`, with other operators.
    Operator {
        left: Piece,
        right: Piece,
        others: Vec<(usize, String)>,
        is_logical: bool,
    },
    /// An operator in front of this is left out.
    Prefix { operand: Piece, number: usize },
    /// An arm that does not match, or whose guard says `true` or `false`.
    Guard {
        guard: Option<Piece>,
        deleted: Option<usize>,
        always: Option<usize>,
        never: Option<usize>,
    },
    /// A field has the value of the base.
    Field {
        name: String,
        value: Option<Piece>,
        base: Piece,
        number: usize,
    },
}

impl Place {
    /// The numbers of its mutants.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        match &self.change {
            Change::EndOfIterator => Vec::new(),
            Change::Value { values: others, .. } | Change::Operator { others, .. } => {
                others.iter().map(|(number, _)| *number).collect()
            }
            Change::Prefix { number, .. } | Change::Field { number, .. } => vec![*number],
            Change::Guard {
                deleted, always, never, ..
            } => [*deleted, *always, *never].into_iter().flatten().collect(),
        }
    }
}

/// The places of these mutants. One that is in a constant, or of a kind that is not known, has none.
pub(crate) fn places(text: &str, mutants: &[(usize, &Listed)]) -> syn::Result<Vec<Place>> {
    let file = syn::parse_file(text)?;
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    let offset = |position: &Position| -> usize {
        let start = starts.get(position.line - 1).copied().unwrap_or_default();
        let line = text.get(start..).unwrap_or_default();
        start
            + line
                .char_indices()
                .nth(position.column - 1)
                .map_or(line.len(), |(at, _)| at)
    };
    let mut by_start: BTreeMap<(usize, Kind), Vec<(usize, &Listed)>> = BTreeMap::new();
    for (number, mutant) in mutants {
        let Some(kind) = Kind::of(mutant.genre) else { continue };
        by_start
            .entry((offset(&mutant.span.start), kind))
            .or_default()
            .push((*number, mutant));
    }
    let mut finder = Finder {
        by_start,
        places: Vec::new(),
    };
    finder.visit_file(&file);
    let mut places = finder.places;
    // A place around another one is first; a point is in front of a place that begins there. The order of the visit is kept else.
    places.sort_by_key(|place| {
        let is_point = place.piece.is_empty();
        (place.piece.start, !is_point, std::cmp::Reverse(place.piece.end))
    });
    Ok(places)
}

/// The kind of text that a mutant begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Body,
    Binary,
    Unary,
    Arm,
    Guard,
    Field,
}

impl Kind {
    const fn of(genre: Genre) -> Option<Self> {
        match genre {
            Genre::FnValue => Some(Self::Body),
            Genre::BinaryOperator => Some(Self::Binary),
            Genre::UnaryOperator => Some(Self::Unary),
            Genre::MatchArm => Some(Self::Arm),
            Genre::MatchArmGuard => Some(Self::Guard),
            Genre::StructField => Some(Self::Field),
            Genre::Other => None,
        }
    }
}

struct Finder<'a> {
    by_start: BTreeMap<(usize, Kind), Vec<(usize, &'a Listed)>>,
    places: Vec<Place>,
}

impl Finder<'_> {
    fn take(&mut self, at: usize, kind: Kind) -> Vec<(usize, String)> {
        let taken = self.by_start.remove(&(at, kind)).unwrap_or_default();
        taken
            .into_iter()
            .map(|(number, mutant)| (number, mutant.replacement.clone()))
            .collect()
    }

    fn add(&mut self, piece: Piece, change: Change) {
        self.places.push(Place { piece, change });
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let braces = block.brace_token.span;
        let start = braces.open().byte_range().end;
        // The span is the block, or what is in it.
        let first = block.stmts.first().map(|statement| statement.span().byte_range().start);
        let mut values = self.take(braces.open().byte_range().start, Kind::Body);
        if let Some(first) = first {
            values.extend(self.take(first, Kind::Body));
        }
        if !values.is_empty() && signature.asyncness.is_none() {
            let is_iterator =
                matches!(&signature.output, syn::ReturnType::Type(_, of) if matches!(**of, syn::Type::ImplTrait(_)));
            self.add(start..start, Change::Value { values, is_iterator });
            if is_iterator {
                let end = braces.close().byte_range().start;
                self.add(end..end, Change::EndOfIterator);
            }
        }
    }
}

fn piece(of: &impl syn::spanned::Spanned) -> Piece {
    of.span().byte_range()
}

/// `let` in a condition: it cannot stand in brackets.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether a pattern matches any value.
fn takes_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(name) => name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase),
        syn::Pat::Tuple(tuple) => tuple.elems.iter().all(takes_all),
        syn::Pat::Reference(reference) => takes_all(&reference.pat),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    // Values that the compiler computes have no switch.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() {
            self.body(&item.sig, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() {
            self.body(&item.sig, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        let others = self.take(piece(&expression.op).start, Kind::Binary);
        if !others.is_empty() && !has_let(&expression.left) && !has_let(&expression.right) {
            let is_logical = matches!(expression.op, syn::BinOp::And(_) | syn::BinOp::Or(_));
            let (left, right) = (piece(&expression.left), piece(&expression.right));
            self.add(
                piece(expression),
                Change::Operator {
                    left,
                    right,
                    others,
                    is_logical,
                },
            );
        }
        syn::visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        for (number, _) in self.take(piece(&expression.op).start, Kind::Unary) {
            self.add(
                piece(expression),
                Change::Prefix {
                    operand: piece(&expression.expr),
                    number,
                },
            );
        }
        syn::visit::visit_expr_unary(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        // An arm with a switch leaves cases to the others.
        let others = |arm: &syn::Arm| arm.guard.is_none() && takes_all(&arm.pat);
        let mut arms = expression.arms.iter();
        if !arms.any(others) {
            let needed = expression.arms.iter().filter(|arm| arm.guard.is_none());
            for arm in needed {
                self.take(piece(&arm.pat).start, Kind::Arm);
            }
        }
        for arm in expression.arms.iter().filter(|arm| others(arm)) {
            self.take(piece(&arm.pat).start, Kind::Arm);
        }
        syn::visit::visit_expr_match(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let guard = arm.guard.as_ref().map(|(_, guard)| guard);
        let mut deleted = self.take(piece(&arm.pat).start, Kind::Arm);
        deleted.extend(self.take(piece(arm).start, Kind::Arm));
        let guards = guard
            .map(|guard| self.take(piece(guard).start, Kind::Guard))
            .unwrap_or_default();
        let said = |word: &str| guards.iter().find(|(_, said)| said == word).map(|(number, _)| *number);
        let (always, never) = (said("true"), said("false"));
        let deleted = deleted.first().map(|(number, _)| *number);
        if [deleted, always, never].iter().any(Option::is_some) && !guard.is_some_and(|guard| has_let(guard)) {
            let end = piece(&arm.pat).end;
            let guard = guard.map(|guard| piece(&**guard));
            let place = guard.clone().unwrap_or(end..end);
            self.add(
                place,
                Change::Guard {
                    guard,
                    deleted,
                    always,
                    never,
                },
            );
        }
        syn::visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        if let Some(base) = &expression.rest {
            for field in &expression.fields {
                for (number, _) in self.take(piece(field).start, Kind::Field) {
                    let syn::Member::Named(name) = &field.member else {
                        continue;
                    };
                    let value = field.colon_token.is_some().then(|| piece(&field.expr));
                    self.add(
                        piece(field),
                        Change::Field {
                            name: name.to_string(),
                            value,
                            base: piece(&**base),
                            number,
                        },
                    );
                }
            }
        }
        syn::visit::visit_expr_struct(self, expression);
    }
}
