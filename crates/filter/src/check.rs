//! Meets the parsed expression with a schema: resolves selectors, refuses operators a field does
//! not know, turns values into the field's type. The resulting [`Plan`] cannot fail.

use regex::Regex;

use crate::error::FilterError;
use crate::goquote::{parse_bool, parse_int};
use crate::goregexp;
use crate::parser::{Ast, Op};
use crate::schema::{Kind, Schema};

/// Regular expressions one filter may hold; bounds the memory a request can make us build.
const REGEXPS_MAX: usize = 64;

/// An expression ready to run.
#[derive(Debug)]
pub(crate) enum Plan {
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Not(Box<Plan>),
    Match {
        path: Vec<Step>,
        leaf: Leaf,
        test: Test,
    },
}

/// One step down to a record inside a record.
#[derive(Debug)]
pub(crate) enum Step {
    /// The records of a struct or list of structs; any may match.
    Each(&'static str),
    /// One record of a map.
    Entry(&'static str, String),
}

/// The field a test looks at.
#[derive(Debug)]
pub(crate) enum Leaf {
    Field(&'static str),
    /// A text in a map of texts.
    Entry(&'static str, String),
    /// A map of records, asked for its keys.
    Map(&'static str),
}

/// The question put to the field.
#[derive(Debug)]
pub(crate) enum Test {
    Str {
        value: String,
        negate: bool,
    },
    Bool {
        value: bool,
        negate: bool,
    },
    Int {
        value: i64,
        negate: bool,
    },
    /// Element, key or substring.
    Has {
        value: String,
        negate: bool,
    },
    Empty {
        negate: bool,
    },
    Regexp {
        regexp: Box<Regex>,
        negate: bool,
    },
}

pub(crate) fn check(ast: Ast, schema: &'static Schema) -> Result<Plan, FilterError> {
    Checker { schema, regexps: 0 }.plan(ast)
}

struct Checker {
    schema: &'static Schema,
    regexps: usize,
}

impl Checker {
    fn plan(&mut self, ast: Ast) -> Result<Plan, FilterError> {
        Ok(match ast {
            Ast::And(items) => Plan::And(self.plans(items)?),
            Ast::Or(items) => Plan::Or(self.plans(items)?),
            Ast::Not(item) => Plan::Not(Box::new(self.plan(*item)?)),
            Ast::Match {
                selector,
                op,
                value,
            } => self.match_plan(selector, op, value)?,
        })
    }

    fn plans(&mut self, items: Vec<Ast>) -> Result<Vec<Plan>, FilterError> {
        items.into_iter().map(|item| self.plan(item)).collect()
    }

    fn match_plan(
        &mut self,
        selector: Vec<String>,
        op: Op,
        value: String,
    ) -> Result<Plan, FilterError> {
        let (path, leaf, kind) = resolve(&selector, self.schema)?;
        let name = || selector.join(".");
        if !knows(kind, op) {
            return Err(FilterError::Operator {
                op: op_name(op),
                selector: name(),
            });
        }
        let negate = matches!(
            op,
            Op::NotEqual | Op::NotIn | Op::IsNotEmpty | Op::NotMatches
        );
        let coerce = |reason| FilterError::Coerce {
            value: value.clone(),
            selector: name(),
            reason,
        };
        let test = match (op, kind) {
            (Op::IsEmpty | Op::IsNotEmpty, _) => Test::Empty { negate },
            (Op::In | Op::NotIn, _) => Test::Has { value, negate },
            (Op::Matches | Op::NotMatches, _) => {
                self.regexps += 1;
                if self.regexps > REGEXPS_MAX {
                    return Err(FilterError::TooManyRegexps { limit: REGEXPS_MAX });
                }
                match goregexp::compile(&value) {
                    Ok(regexp) => Test::Regexp {
                        regexp: Box::new(regexp),
                        negate,
                    },
                    Err(reason) => {
                        return Err(FilterError::Regexp {
                            pattern: value,
                            reason,
                        });
                    }
                }
            }
            (_, Kind::Number) => Test::Int {
                value: parse_int(&value).map_err(coerce)?,
                negate,
            },
            (_, Kind::Bool) => Test::Bool {
                value: parse_bool(&value).map_err(coerce)?,
                negate,
            },
            _ => Test::Str { value, negate },
        };
        Ok(Plan::Match { path, leaf, test })
    }
}

/// Follows a selector through the schema; the error names it up to the part that leads nowhere.
fn resolve(
    selector: &[String],
    schema: &'static Schema,
) -> Result<(Vec<Step>, Leaf, Kind), FilterError> {
    let invalid = |upto: usize| {
        let end = selector.len().min(upto + 1);
        FilterError::Selector(selector[..end].join("."))
    };
    let mut path = Vec::new();
    let mut schema = schema;
    let mut i = 0;
    loop {
        let part = selector.get(i).ok_or_else(|| invalid(i))?;
        let (field, kind) = schema.find(part).ok_or_else(|| invalid(i))?;
        let more = i + 1 < selector.len();
        match kind {
            Kind::Struct(_) | Kind::StructList(_) | Kind::StringList if !more => {
                return Ok((path, Leaf::Field(field), kind));
            }
            Kind::Struct(below) | Kind::StructList(below) => {
                path.push(Step::Each(field));
                schema = below;
                i += 1;
            }
            Kind::StringMap if !more => return Ok((path, Leaf::Field(field), kind)),
            Kind::StringMap if i + 2 < selector.len() => return Err(invalid(i + 2)),
            Kind::StringMap => {
                let leaf = Leaf::Entry(field, selector[i + 1].clone());
                return Ok((path, leaf, Kind::String));
            }
            Kind::StructMap(_) if !more => return Ok((path, Leaf::Map(field), kind)),
            // An entry itself can be asked nothing; the struct kind says so.
            Kind::StructMap(below) if i + 2 == selector.len() => {
                return Ok((path, Leaf::Field(field), Kind::Struct(below)));
            }
            Kind::StructMap(below) => {
                path.push(Step::Entry(field, selector[i + 1].clone()));
                schema = below;
                i += 2;
            }
            Kind::String | Kind::Bool | Kind::Number | Kind::StringList => {
                if more {
                    return Err(invalid(i + 1));
                }
                return Ok((path, Leaf::Field(field), kind));
            }
        }
    }
}

fn knows(kind: Kind, op: Op) -> bool {
    use Op::{Equal, In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
    match kind {
        Kind::String => matches!(op, Equal | NotEqual | In | NotIn | Matches | NotMatches),
        Kind::Bool | Kind::Number => matches!(op, Equal | NotEqual),
        Kind::StringList | Kind::StringMap | Kind::StructMap(_) => {
            matches!(op, In | NotIn | IsEmpty | IsNotEmpty)
        }
        Kind::StructList(_) => matches!(op, IsEmpty | IsNotEmpty),
        Kind::Struct(_) => false,
    }
}

fn op_name(op: Op) -> &'static str {
    match op {
        Op::Equal => "Equal",
        Op::NotEqual => "Not Equal",
        Op::In => "In",
        Op::NotIn => "Not In",
        Op::IsEmpty => "Is Empty",
        Op::IsNotEmpty => "Is Not Empty",
        Op::Matches => "Matches",
        Op::NotMatches => "Not Matches",
    }
}
