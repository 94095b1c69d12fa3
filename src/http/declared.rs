//! What each route declares beside its handler: the action that it is, and how long it may take. In `/openapi.json` these are
//! `x-action` and `x-timeout`.

use std::collections::HashMap;

use axum::http::Method;
use utoipa::openapi::{OpenApi, path::Operation};

use super::{accepts::operations, edge::Class};
use crate::doors::Action;

/// By route, then by method.
#[derive(Debug, Default)]
pub struct Declared(HashMap<String, Vec<(Method, Class)>>);

impl Declared {
    /// # Panics
    /// Where a route does not declare its action and its time: no node starts with one.
    pub fn of(api: &OpenApi) -> Declared {
        let routes = api.paths.paths.iter().map(|(route, item)| {
            let declared = operations(item).into_iter().filter_map(|(method, operation)| {
                let operation = operation?;
                action(operation).unwrap_or_else(|| panic!("{method} {route} declares no known `x-action`"));
                let class = class(operation);
                Some((
                    method.clone(),
                    class.unwrap_or_else(|| panic!("{method} {route} declares no known `x-timeout`")),
                ))
            });
            (route.clone(), declared.collect())
        });
        Declared(routes.collect())
    }

    /// Routes with one class for all methods.
    #[cfg(test)]
    pub fn with(routes: &[(&str, Class)]) -> Declared {
        let methods = |class| [Method::GET, Method::POST].map(|method| (method, class)).to_vec();
        Declared(routes.iter().map(|(route, class)| ((*route).to_owned(), methods(*class))).collect())
    }

    /// The class of a request; that of a read where no route is meant.
    pub fn class(&self, method: &Method, route: &str) -> Class {
        // HEAD is answered by what answers GET.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let declared =
            self.0.get(route).and_then(|methods| methods.iter().find(|(known, _)| known == method));
        declared.map_or(Class::Read, |(_, class)| *class)
    }
}

fn text<'a>(operation: &'a Operation, name: &str) -> Option<&'a str> {
    operation.extensions.as_ref()?.get(name)?.as_str()
}

fn action(operation: &Operation) -> Option<Action> {
    Action::named(text(operation, "x-action")?)
}

fn class(operation: &Operation) -> Option<Class> {
    match text(operation, "x-timeout")? {
        "read" => Some(Class::Read),
        "write" => Some(Class::Write),
        "long" => Some(Class::Long),
        _ => None,
    }
}
