//! `GET` and `HEAD /keys`: which keys there are.

use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use identity::Role;
use keystore::{KeyMeta, KeyState, ListQuery};

use super::HttpState;
use super::body;
use super::caller::Caller;
use super::error::{ApiError, Wanted};
use super::search::Search;
use super::shapes::{self, Collection, KeyResource};
use crate::Keys;

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 5_000;
/// Most keys that a search, or a choice by `extractable`, looks through.
const MAX_SEARCHED: u32 = 5_000;
const KEY_TOTAL: HeaderName = HeaderName::from_static("key-total");

/// Query parameters, decoded; an empty value is an absent one.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(query: Query<Vec<(String, String)>>) -> Self {
        Self(query.0)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, value)| given == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A number within its bounds.
    pub(super) fn number(
        &self,
        name: &str,
        least: u32,
        most: u32,
    ) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let refused = || ApiError::query(name, &format!("a number from {least} to {most}"));
        number.map(Some).ok_or_else(refused)
    }

    /// `true` or `false`, as Python writes it too.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::query(name, "true or false")),
        }
    }
}

/// What a list asks for.
struct ListAsk {
    limit: u32,
    offset: u32,
    /// None where the states that are asked for are such as no key has.
    states: Option<Vec<KeyState>>,
    is_extractable: Option<bool>,
    search: Option<Search>,
    /// As `totalCount=true` asks.
    is_total_wanted: bool,
}

impl ListAsk {
    fn parse(parameters: &Parameters) -> Result<Self, ApiError> {
        for name in ["sort", "filter"] {
            if parameters.get(name).is_some() {
                let error = ApiError::unbuilt(&format!("The query parameter '{name}'"));
                return Err(error.at("query_param", name));
            }
        }
        let search = parameters.get("search").map(|text| {
            Search::parse(text).ok_or_else(|| ApiError::query("search", "a text to search for"))
        });
        Ok(Self {
            limit: parameters.number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
            offset: parameters.number("offset", 0, u32::MAX)?.unwrap_or_default(),
            states: states(parameters)?,
            is_extractable: parameters.flag("extractable")?,
            search: search.transpose()?,
            is_total_wanted: parameters.flag("totalCount")?.unwrap_or_default(),
        })
    }

    fn finds(&self, meta: &KeyMeta) -> bool {
        self.is_extractable.is_none_or(|wanted| wanted == shapes::is_extractable(meta))
            && self.search.as_ref().is_none_or(|search| search.finds(meta))
    }
}

/// The states asked for that a key can have here; empty for all that are not deleted.
fn states(parameters: &Parameters) -> Result<Option<Vec<KeyState>>, ApiError> {
    let Some(text) = parameters.get("state") else { return Ok(Some(Vec::new())) };
    let mut states = Vec::new();
    for one in text.split(',') {
        match one {
            "0" | "2" | "3" => {}
            "1" => states.push(KeyState::Active),
            "5" => states.push(KeyState::Destroyed),
            _ => return Err(ApiError::query("state", "a comma-separated list out of 0,1,2,3,5")),
        }
    }
    Ok((!states.is_empty()).then_some(states))
}

/// The keys of one page, and, where it is wanted, how many match in all: to say so every key is looked at.
async fn find(keys: &Keys, ask: &ListAsk) -> Result<(Vec<KeyMeta>, Option<u64>), ApiError> {
    let refused = |error| ApiError::refused(error, Wanted::Look);
    let Some(states) = &ask.states else {
        return Ok((Vec::new(), ask.is_total_wanted.then_some(0)));
    };
    let query = |limit, offset| ListQuery { limit, offset, states: states.clone(), search: None };
    if ask.is_extractable.is_none() && ask.search.is_none() {
        let asked = query(ask.limit, ask.offset);
        let total = match ask.is_total_wanted {
            true => Some(keys.count(asked.clone()).await.map_err(refused)?),
            false => None,
        };
        return Ok((keys.list(asked).await.map_err(refused)?, total));
    }
    // What the keystore cannot select is selected here: out of so many keys, and not of more.
    let looked_at = keys.list(query(MAX_SEARCHED + 1, 0)).await.map_err(refused)?;
    if looked_at.len() > MAX_SEARCHED as usize {
        return Err(too_broad(ask));
    }
    let found: Vec<_> = looked_at.into_iter().filter(|meta| ask.finds(meta)).collect();
    let total = ask.is_total_wanted.then_some(found.len() as u64);
    let page = found.into_iter().skip(ask.offset as usize).take(ask.limit as usize);
    Ok((page.collect(), total))
}

fn too_broad(ask: &ListAsk) -> ApiError {
    let name = if ask.search.is_some() { "search" } else { "extractable" };
    let text = format!(
        "More than {MAX_SEARCHED} keys would have to be searched: narrow them down by 'state', or \
         leave '{name}' out"
    );
    ApiError::bad_request("KEY_SEARCH_TOO_BROAD", text).at("query_param", name)
}

pub(super) async fn list(
    State(state): State<HttpState>,
    caller: Caller,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let ask = ListAsk::parse(&Parameters::of(query))?;
    let (metas, total) = find(&caller.keys, &ask).await?;
    let resource = |meta| state.resource(&caller.keys, meta);
    let keys: Vec<KeyResource> = metas.into_iter().map(resource).collect();
    let mut collection = Collection::of(shapes::KEY, keys);
    collection.metadata.total_count = total;
    collection.metadata.search_query = ask.search.as_ref().map(Search::understood);
    Ok(body::json(StatusCode::OK, shapes::KEY, &collection))
}

pub(super) async fn count(
    caller: Caller,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let mut ask = ListAsk::parse(&Parameters::of(query))?;
    (ask.limit, ask.is_total_wanted) = (1, true);
    let (_, total) = find(&caller.keys, &ask).await?;
    let total = total.unwrap_or_default();
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(KEY_TOTAL, HeaderValue::from(total));
    Ok(response)
}
