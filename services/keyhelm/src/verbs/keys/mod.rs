//! Keys, through the gateway.

pub mod bulk;
pub mod import;
pub mod page;
pub mod read;
pub mod remove;

use crate::app::App;
use crate::cli::keys::KeysVerb;
use crate::failure::Outcome;

/// `keys`.
pub async fn run(app: &App, verb: &KeysVerb) -> Outcome {
    match verb {
        KeysVerb::Create(args) => bulk::create(app, args).await,
        KeysVerb::Import(args) => bulk::import(app, args).await,
        KeysVerb::List(args) => read::list(app, args).await,
        KeysVerb::Show(args) => read::show(app, args).await,
        KeysVerb::Delete(args) => remove::delete(app, args).await,
        KeysVerb::Purge(args) => remove::purge(app, args).await,
        KeysVerb::Check(args) => read::check(app, args).await,
    }
}
