//! Filters over the tags of publications (client-protocol.md 5.10): as clients send them, and compiled.
//!
//! A compiled filter is a value: equal filters are equal, so that those who share one can share its verdict. Evaluation allocates
//! nothing and cannot fail. Knows no wire format: reading and the limit of what is read belong to `protocol`.

mod decimal;

use std::{cmp::Ordering, collections::BTreeMap};

use self::decimal::Decimal;

/// A node of a filter as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterNode {
    /// Empty for a comparison; `and`, `or`, `not`.
    pub op: String,
    /// Tag to compare.
    pub key: String,
    /// Comparison.
    pub cmp: String,
    /// Operand of most comparisons.
    pub val: String,
    /// Operands of `in` and `nin`.
    pub vals: Vec<String>,
    /// Children.
    pub nodes: Vec<Self>,
}

impl FilterNode {
    /// Deepest nesting of a filter.
    pub const MAX_DEPTH: usize = 32;

    /// Most nodes of a filter.
    pub const MAX_NODES: usize = 64;
}

/// The filter is not one: clients get error 107.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// Unknown `op`.
    #[error("unknown operation of a filter")]
    Operation,
    /// `and` or `or` without children, `not` without exactly one.
    #[error("wrong number of nodes in a filter")]
    Nodes,
    /// Unknown or missing `cmp`.
    #[error("unknown or missing comparison of a filter")]
    Comparison,
    /// A comparison that needs a key has none.
    #[error("comparison of a filter without a key")]
    Key,
    /// Operand missing, or of the wrong kind.
    #[error("wrong operand of a filter")]
    Operand,
    /// More than [`FilterNode::MAX_DEPTH`] deep or [`FilterNode::MAX_NODES`] large.
    #[error("filter too deep or too large")]
    TooLarge,
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Expression);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Expression {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Not(Box<Self>),
    Tag(Box<str>, Test),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    Is(Box<str>),
    /// Sorted, so that the order in which they were sent makes no difference.
    In(Box<[Box<str>]>),
    Exists,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    /// The relations that hold, and the number compared with; `None` when the operand is no number, which nothing is less or more than.
    Number(Relation, Option<Decimal>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Filter {
    /// Checks and compiles a filter.
    ///
    /// # Errors
    /// [`InvalidFilter`] says which rule of client-protocol.md 5.10 it breaks.
    pub fn compile(node: &FilterNode) -> Result<Self, InvalidFilter> {
        let mut nodes = 0;
        compile(node, 1, &mut nodes).map(Self)
    }

    /// True when a publication with these tags is wanted.
    #[must_use]
    pub fn matches(&self, tags: Option<&BTreeMap<String, String>>) -> bool {
        self.0.holds(tags)
    }
}

impl Expression {
    /// Recursion is bounded by [`FilterNode::MAX_DEPTH`].
    fn holds(&self, tags: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::All(children) => children.iter().all(|child| child.holds(tags)),
            Self::Any(children) => children.iter().any(|child| child.holds(tags)),
            Self::Not(child) => !child.holds(tags),
            Self::Tag(key, test) => {
                test.holds(tags.and_then(|tags| tags.get(&**key)).map(String::as_str))
            }
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::In(wanted) => {
                let value = value.unwrap_or_default();
                wanted.binary_search_by(|one| (**one).cmp(value)).is_ok()
            }
            Self::Exists => value.is_some(),
            Self::StartsWith(part) => value.is_some_and(|value| value.starts_with(&**part)),
            Self::EndsWith(part) => value.is_some_and(|value| value.ends_with(&**part)),
            Self::Contains(part) => value.is_some_and(|value| value.contains(&**part)),
            Self::Number(relation, operand) => operand
                .as_ref()
                .zip(value)
                .and_then(|(operand, value)| decimal::compare(value, operand))
                .is_some_and(|order| relation.holds(order)),
        }
    }
}

fn compile(
    node: &FilterNode,
    depth: usize,
    nodes: &mut usize,
) -> Result<Expression, InvalidFilter> {
    *nodes += 1;
    if depth > FilterNode::MAX_DEPTH || *nodes > FilterNode::MAX_NODES {
        return Err(InvalidFilter::TooLarge);
    }
    if node.op.is_empty() {
        return comparison(node);
    }
    let count = node.nodes.len();
    let fits = match &*node.op {
        "and" | "or" => count > 0,
        "not" => count == 1,
        _ => return Err(InvalidFilter::Operation),
    };
    if !fits {
        return Err(InvalidFilter::Nodes);
    }
    let mut children = node
        .nodes
        .iter()
        .map(|child| compile(child, depth + 1, nodes))
        .collect::<Result<Vec<_>, _>>()?;
    match &*node.op {
        "and" => Ok(Expression::All(children.into())),
        "or" => Ok(Expression::Any(children.into())),
        _ => children
            .pop()
            .map(|child| Expression::Not(Box::new(child)))
            .ok_or(InvalidFilter::Nodes),
    }
}

fn comparison(node: &FilterNode) -> Result<Expression, InvalidFilter> {
    let tests = |test: Test| Expression::Tag(node.key.as_str().into(), test);
    let not = |test: Test| Expression::Not(Box::new(tests(test)));
    let none = node.val.is_empty() && node.vals.is_empty();
    if matches!(&*node.cmp, "ex" | "nex") {
        if !none {
            return Err(InvalidFilter::Operand);
        }
        return Ok(if node.cmp == "ex" {
            tests(Test::Exists)
        } else {
            not(Test::Exists)
        });
    }
    let several = matches!(&*node.cmp, "in" | "nin");
    let single = matches!(
        &*node.cmp,
        "eq" | "neq" | "sw" | "ew" | "ct" | "lt" | "lte" | "gt" | "gte"
    );
    if !several && !single {
        return Err(InvalidFilter::Comparison);
    }
    if node.key.is_empty() {
        return Err(InvalidFilter::Key);
    }
    if node.val.is_empty() != several || node.vals.is_empty() == several {
        return Err(InvalidFilter::Operand);
    }
    let val = || Box::<str>::from(&*node.val);
    let number = |relation| tests(Test::Number(relation, Decimal::parse(&node.val)));
    Ok(match &*node.cmp {
        "eq" => tests(Test::Is(val())),
        "neq" => not(Test::Is(val())),
        "in" => tests(one_of(&node.vals)),
        "nin" => not(one_of(&node.vals)),
        "sw" => tests(Test::StartsWith(val())),
        "ew" => tests(Test::EndsWith(val())),
        "ct" => tests(Test::Contains(val())),
        "lt" => number(Relation::Less),
        "lte" => number(Relation::LessOrEqual),
        "gt" => number(Relation::Greater),
        _ => number(Relation::GreaterOrEqual),
    })
}

fn one_of(vals: &[String]) -> Test {
    let mut vals: Vec<Box<str>> = vals.iter().map(|val| val.as_str().into()).collect();
    vals.sort_unstable();
    vals.dedup();
    Test::In(vals.into())
}

#[cfg(test)]
mod tests;
