//! Tokens to an [`Expression`], by Lua's precedence.

use super::lex::{Token, tokens};
use super::{Expression, Global, Method, Operator, Value};

/// How deep expressions may be nested.
const DEEPEST: usize = 40;

/// # Errors
///
/// What is no expression, or none of those that can be had without Lua.
pub(crate) fn parse(source: &str) -> Result<Expression, String> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let expression = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(more) => Err(format!("unexpected {} after the expression", shown(more))),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("'{name}'"),
        Token::Number(number) => super::number_text(*number),
        Token::Text(_) => "a string".into(),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

/// An operator between two sides: how tightly it binds on its left and on its right.
fn infix(token: &Token) -> Option<(Infix, u8, u8)> {
    use Operator::*;
    let operator = |operator, left, right| Some((Infix::Operator(operator), left, right));
    match token {
        Token::Name(name) if name == "or" => Some((Infix::Or, 1, 2)),
        Token::Name(name) if name == "and" => Some((Infix::And, 3, 4)),
        Token::Sign(sign) => match *sign {
            "<" => operator(Less, 5, 6),
            ">" => operator(Greater, 5, 6),
            "<=" => operator(LessOrEqual, 5, 6),
            ">=" => operator(GreaterOrEqual, 5, 6),
            "~=" => operator(Different, 5, 6),
            "==" => operator(Equal, 5, 6),
            ".." => operator(Concat, 8, 7),
            "+" => operator(Add, 9, 10),
            "-" => operator(Subtract, 9, 10),
            "*" => operator(Multiply, 11, 12),
            "/" => operator(Divide, 11, 12),
            "%" => operator(Modulo, 11, 12),
            "^" => operator(Power, 16, 15),
            _ => None,
        },
        _ => None,
    }
}

enum Infix {
    Or,
    And,
    Operator(Operator),
}

/// How tightly `not`, `-` and `#` bind.
const UNARY: u8 = 13;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == word)
    }

    fn take(&mut self, sign: &str) -> Result<(), String> {
        if self.is(sign) {
            self.at += 1;
            return Ok(());
        }
        Err(format!("'{sign}' expected{}", self.near()))
    }

    fn take_word(&mut self, word: &str) -> Result<(), String> {
        if self.is_word(word) {
            self.at += 1;
            return Ok(());
        }
        Err(format!("'{word}' expected{}", self.near()))
    }

    fn near(&self) -> String {
        self.peek().map_or_else(|| " at the end".into(), |token| format!(" near {}", shown(token)))
    }

    fn expression(&mut self, loosest: u8) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the expression is nested too deeply".into());
        }
        let mut left = self.unary()?;
        while let Some((infix, binds_left, binds_right)) = self.peek().and_then(infix) {
            if binds_left < loosest {
                break;
            }
            self.at += 1;
            let right = Box::new(self.expression(binds_right)?);
            let first = Box::new(left);
            left = match infix {
                Infix::Or => Expression::Or(first, right),
                Infix::And => Expression::And(first, right),
                Infix::Operator(operator) => Expression::Binary(operator, first, right),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        let make: fn(Box<Expression>) -> Expression = if self.is_word("not") {
            Expression::Not
        } else if self.is("-") {
            Expression::Negate
        } else if self.is("#") {
            Expression::Length
        } else {
            return self.suffixed();
        };
        self.at += 1;
        Ok(make(Box::new(self.expression(UNARY)?)))
    }

    fn suffixed(&mut self) -> Result<Expression, String> {
        let mut value = self.primary()?;
        loop {
            if self.is(".") {
                self.at += 1;
                let name = self.name()?;
                let key = Expression::Constant(Value::text(name));
                value = Expression::Index(Box::new(value), Box::new(key));
            } else if self.is("[") {
                self.at += 1;
                let key = self.expression(0)?;
                self.take("]")?;
                value = Expression::Index(Box::new(value), Box::new(key));
            } else if self.is(":") {
                self.at += 1;
                let name = self.name()?;
                let method = Method::named(&name)
                    .ok_or_else(|| format!("the method '{name}' is not available in templates"))?;
                let arguments = self.arguments()?;
                method.check(&arguments)?;
                value = Expression::Method(Box::new(value), method, arguments);
            } else if self.is("(") || matches!(self.peek(), Some(Token::Text(_))) {
                let Expression::Function(body) = value else {
                    return Err("only methods of strings and functions written in place can be \
                                called in templates"
                        .into());
                };
                self.arguments()?;
                value = Expression::Call(body);
            } else {
                return Ok(value);
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(format!("<name> expected{}", self.near())),
        }
    }

    /// `(a, b)`, or a string alone.
    fn arguments(&mut self) -> Result<Vec<Expression>, String> {
        if let Some(Token::Text(text)) = self.peek() {
            let argument = Expression::Constant(Value::Text(text.clone()));
            self.at += 1;
            return Ok(vec![argument]);
        }
        self.take("(")?;
        let mut all = Vec::new();
        while !self.is(")") {
            if !all.is_empty() {
                self.take(",")?;
            }
            all.push(self.expression(0)?);
        }
        self.at += 1;
        Ok(all)
    }

    fn primary(&mut self) -> Result<Expression, String> {
        let token = self.peek().cloned().ok_or("an expression is missing")?;
        self.at += 1;
        let constant = |value| Ok(Expression::Constant(value));
        match token {
            Token::Number(number) => constant(Value::Number(number)),
            Token::Text(text) => constant(Value::Text(text)),
            Token::Sign("(") => {
                let inner = self.expression(0)?;
                self.take(")")?;
                Ok(inner)
            }
            Token::Name(name) => match name.as_str() {
                "nil" => constant(Value::Nil),
                "true" => constant(Value::Boolean(true)),
                "false" => constant(Value::Boolean(false)),
                "headers" => Ok(Expression::Global(Global::Headers)),
                "query_params" => Ok(Expression::Global(Global::QueryParams)),
                "uri_captures" => Ok(Expression::Global(Global::UriCaptures)),
                "shared" => Ok(Expression::Global(Global::Shared)),
                "function" => self.function(),
                other => Err(format!(
                    "unknown name '{other}': templates know headers, query_params, uri_captures \
                     and shared"
                )),
            },
            Token::Sign(_) => {
                self.at -= 1;
                Err(format!("unexpected symbol{}", self.near()))
            }
        }
    }

    /// `function() return … end`: what a function may be without Lua.
    fn function(&mut self) -> Result<Expression, String> {
        self.take("(")?;
        self.take(")").map_err(|_| "functions in templates take no arguments".to_owned())?;
        self.take_word("return")
            .map_err(|_| "functions in templates are one 'return'".to_owned())?;
        let body = if self.is_word("end") {
            Expression::Constant(Value::Nil)
        } else {
            self.expression(0)?
        };
        if self.is(";") {
            self.at += 1;
        }
        self.take_word("end")?;
        Ok(Expression::Function(Box::new(body)))
    }
}
