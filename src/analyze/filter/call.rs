//! Functions that an expression can call.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use regex::RegexBuilder;

use super::check::{Checker, Typed};
use super::convert::Convert;
use super::eval::{Find, Loop, Node};
use super::field::Part;
use super::problem::{Problem, nearest};
use super::value::Type;

/// Regular expressions of one filter, and the bytes that each may take once
/// compiled, and again while it runs on a thread: together they are bounded.
const REGEXES: usize = 16;
/// See [`REGEXES`].
const REGEX_BYTES: usize = 1 << 20;

/// Functions by the value that they belong to: `path.contains("x")`.
const METHODS: [&str; 16] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "size",
    "lowerAscii",
    "upperAscii",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
    "header",
    "headers",
    "trailer",
    "label",
];

/// Functions that stand alone: `size(path)`.
const FUNCTIONS: [&str; 8] =
    ["duration", "timestamp", "size", "int", "double", "string", "has", "matches"];

/// Checks a call that is no operator.
pub fn check(
    checker: &mut Checker<'_>,
    part: &IdedExpr,
    call: &CallExpr,
) -> Result<Typed, Problem> {
    let args = call.args.as_slice();
    let Some(target) = &call.target else {
        return function(checker, part, call, args);
    };
    if let Expr::Ident(name) = &target.expr
        && matches!(name.as_str(), "request" | "response")
        && matches!(call.func_name.as_str(), "header" | "headers" | "trailer" | "trailers")
    {
        return header(checker, part, name == "response", &call.func_name, args);
    }
    if let Expr::Ident(name) = &target.expr
        && matches!(name.as_str(), "client" | "server")
        && call.func_name == "label"
    {
        return label(checker, part, name == "server", args);
    }
    method(checker, part, target, call, args)
}

fn function(
    checker: &mut Checker<'_>,
    part: &IdedExpr,
    call: &CallExpr,
    args: &[IdedExpr],
) -> Result<Typed, Problem> {
    let what = match (call.func_name.as_str(), args) {
        ("has", [arg]) => {
            let (node, _) = checker.node(arg)?;
            return Ok((Node::IsNull(false, Box::new(node)), Type::Bool));
        }
        ("matches", [text, regex]) => return matches(checker, text, regex),
        ("size", [_]) => Convert::Size,
        ("int" | "uint", [_]) => Convert::Int,
        ("double", [_]) => Convert::Double,
        ("string", [_]) => Convert::Text,
        ("timestamp", [_]) => Convert::Time,
        ("duration", [_]) => Convert::Duration,
        ("-_", [_]) => Convert::Negate,
        _ => return Err(unknown(checker, part, call, &FUNCTIONS, &METHODS)),
    };
    match args {
        [arg] => converted(checker, what, arg),
        _ => Err(unknown(checker, part, call, &FUNCTIONS, &METHODS)),
    }
}

fn method(
    checker: &mut Checker<'_>,
    part: &IdedExpr,
    target: &IdedExpr,
    call: &CallExpr,
    args: &[IdedExpr],
) -> Result<Typed, Problem> {
    match (call.func_name.as_str(), args) {
        ("contains", [arg]) => find(checker, Find::Within, target, arg),
        ("startsWith", [arg]) => find(checker, Find::AtStart, target, arg),
        ("endsWith", [arg]) => find(checker, Find::AtEnd, target, arg),
        ("matches", [arg]) => matches(checker, target, arg),
        ("size", []) => converted(checker, Convert::Size, target),
        ("lowerAscii", []) => converted(checker, Convert::Lower, target),
        ("upperAscii", []) => converted(checker, Convert::Upper, target),
        ("all", [name, body]) => looped(checker, Loop::All, target, name, body),
        ("exists", [name, body]) => looped(checker, Loop::Exists, target, name, body),
        ("exists_one", [name, body]) => looped(checker, Loop::ExistsOne, target, name, body),
        ("filter", [name, body]) => looped(checker, Loop::Filter, target, name, body),
        ("map", [name, body]) => looped(checker, Loop::Map, target, name, body),
        _ => Err(unknown(checker, part, call, &METHODS, &FUNCTIONS)),
    }
}

/// A function that there is not, or not with so many arguments.
fn unknown(
    checker: &Checker<'_>,
    part: &IdedExpr,
    call: &CallExpr,
    here: &[&'static str],
    there: &[&'static str],
) -> Problem {
    let name = call.func_name.as_str();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return checker.problem(part, "this is not supported here");
    }
    if here.contains(&name) {
        let what = format!("{name} takes another number of arguments");
        return checker.problem(part, what);
    }
    let problem = checker.problem(part, format!("there is no function {name} here"));
    match nearest(name, here.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None if there.contains(&name) => match call.target {
            Some(_) => problem.hint(format!("it stands alone, as in {name}(…)")),
            None => problem.hint(format!("it stands behind a value, as in path.{name}(…)")),
        },
        None => problem.hint("docs/filter.md lists them"),
    }
}

fn converted(checker: &mut Checker<'_>, what: Convert, part: &IdedExpr) -> Result<Typed, Problem> {
    let (node, of) = checker.node(part)?;
    match what.of(of) {
        Some(result) => Ok((Node::Convert(what, Box::new(node)), result)),
        None => {
            let what = format!("this function does not take {}", of.name());
            Err(checker.problem(part, what))
        }
    }
}

fn find(
    checker: &mut Checker<'_>,
    how: Find,
    target: &IdedExpr,
    arg: &IdedExpr,
) -> Result<Typed, Problem> {
    let text = checker.of(target, Type::Text)?;
    let part = checker.of(arg, Type::Text)?;
    Ok((Node::Find(how, Box::new([text, part])), Type::Bool))
}

fn matches(checker: &mut Checker<'_>, target: &IdedExpr, arg: &IdedExpr) -> Result<Typed, Problem> {
    let text = checker.of(target, Type::Text)?;
    let Expr::Literal(LiteralValue::String(pattern)) = &arg.expr else {
        let problem = checker.problem(arg, "a regular expression is written out");
        return Err(problem.hint("as in path.matches(\"^/api/v[0-9]+/\")"));
    };
    checker.regexes += 1;
    if checker.regexes > REGEXES {
        let what = format!("{REGEXES} regular expressions are the most");
        return Err(checker.problem(arg, what));
    }
    let mut builder = RegexBuilder::new(pattern.inner());
    let regex = builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build();
    match regex {
        Ok(regex) => Ok((Node::Matches(Box::new(text), Box::new(regex)), Type::Bool)),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(checker.problem(arg, "this regular expression is too large"))
        }
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            Err(checker.problem(arg, format!("this is no regular expression: {reason}")))
        }
    }
}

fn looped(
    checker: &mut Checker<'_>,
    what: Loop,
    target: &IdedExpr,
    name: &IdedExpr,
    body: &IdedExpr,
) -> Result<Typed, Problem> {
    let (list, of) = checker.node(target)?;
    let Some(item) = of.item() else {
        let what = format!("this goes over a list, and here is {}", of.name());
        return Err(checker.problem(target, what));
    };
    let Expr::Ident(variable) = &name.expr else {
        return Err(checker.problem(name, "here comes a name for the item"));
    };
    checker.variables.push((variable.clone(), item));
    let checked = match what {
        Loop::Map => checker.node(body),
        _ => checker.condition(body).map(|node| (node, of)),
    };
    checker.variables.pop();
    let (body_node, of_body) = checked?;
    let result = match what {
        Loop::All | Loop::Exists | Loop::ExistsOne => Type::Bool,
        Loop::Filter => of,
        Loop::Map => of_body
            .list()
            .ok_or_else(|| checker.problem(body, "lists of these are not supported"))?,
    };
    Ok((Node::Loop(what, Box::new([list, body_node])), result))
}

fn label(
    checker: &mut Checker<'_>,
    part: &IdedExpr,
    server: bool,
    args: &[IdedExpr],
) -> Result<Typed, Problem> {
    let [arg] = args else {
        return Err(checker.problem(part, "label takes the name of a label"));
    };
    let Expr::Literal(LiteralValue::String(name)) = &arg.expr else {
        let problem = checker.problem(arg, "the name of a label is written out");
        return Err(problem.hint("as in client.label(\"app\")"));
    };
    Ok((Node::Label { server, name: name.inner().to_owned() }, Type::Text))
}

fn header(
    checker: &mut Checker<'_>,
    part: &IdedExpr,
    response: bool,
    function: &str,
    args: &[IdedExpr],
) -> Result<Typed, Problem> {
    let [arg] = args else {
        return Err(checker.problem(part, format!("{function} takes the name of a field")));
    };
    let Expr::Literal(LiteralValue::String(name)) = &arg.expr else {
        let problem = checker.problem(arg, "the name of a field is written out");
        return Err(problem.hint("as in request.header(\"user-agent\")"));
    };
    checker.headers = true;
    let part = Part { response, trailers: function.starts_with("trailer") };
    let all = function.ends_with('s');
    let node = Node::Header { part, all, name: name.inner().to_owned() };
    let of = if all { Type::Text.list().unwrap_or(Type::Any) } else { Type::Text };
    Ok((node, of))
}
