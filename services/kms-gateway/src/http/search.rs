//! The `search` parameter: text to look for, and the options before it. Pure.

use keystore::KeyMeta;
use protocol::KeyId;

use super::shapes::SearchQuery;

/// What a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// In lower case: searches take no notice of case.
    text: String,
    is_negated: bool,
    is_exact: bool,
    in_names: bool,
    in_aliases: bool,
}

impl Search {
    /// Reads `not:`, `exact:`, `alias:` and `name:` off the front, in any order; what follows
    /// `escape:` is text. None if no text is left.
    pub(super) fn parse(given: &str) -> Option<Self> {
        let mut search = Self {
            text: String::new(),
            is_negated: false,
            is_exact: false,
            in_names: false,
            in_aliases: false,
        };
        let mut rest = given;
        while let Some((option, after)) = rest.split_once(':') {
            let flag = match option {
                "not" => &mut search.is_negated,
                "exact" => &mut search.is_exact,
                "alias" => &mut search.in_aliases,
                "name" => &mut search.in_names,
                "escape" => {
                    rest = after;
                    break;
                }
                _ => break,
            };
            *flag = true;
            rest = after;
        }
        if !search.in_names && !search.in_aliases {
            (search.in_names, search.in_aliases) = (true, true);
        }
        search.text = rest.to_lowercase();
        (!rest.is_empty()).then_some(search)
    }

    /// Whether a key is found. No key has an alias yet.
    pub(super) fn finds(&self, meta: &KeyMeta) -> bool {
        let name = meta.name.to_lowercase();
        let is_in_name = match self.is_exact {
            true => name == self.text,
            false => name.contains(&self.text),
        };
        let is_id = self.in_aliases && self.text.parse::<KeyId>().is_ok_and(|id| id == meta.key);
        let is_found = (self.in_names && is_in_name) || is_id;
        is_found != self.is_negated
    }

    /// As it is told to the caller.
    pub(super) fn understood(&self) -> SearchQuery {
        let mut scopes = Vec::new();
        if self.in_names {
            scopes.push("name");
        }
        if self.in_aliases {
            scopes.push("alias");
        }
        SearchQuery { query: self.text.clone(), scopes, not: self.is_negated, exact: self.is_exact }
    }
}
