//! Deleting keys, and ending them.

use protocol::KeyId;
use serde_json::json;

use crate::app::App;
use crate::cli::keys::RemoveArgs;
use crate::client::CallError;
use crate::client::gateway::Gateway;
use crate::failure::{Exit, Failure, Outcome};

#[derive(Clone, Copy)]
enum Deed {
    Delete,
    Purge,
}

impl Deed {
    const fn past(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Purge => "purged",
        }
    }

    async fn of(self, gateway: &Gateway, id: &str) -> Result<(), CallError> {
        match self {
            Self::Delete => gateway.delete(id).await,
            Self::Purge => gateway.purge(id).await,
        }
    }
}

/// `keys delete`.
pub async fn delete(app: &App, args: &RemoveArgs) -> Outcome {
    let question = "Delete these keys? Whoever uses them is refused at once.";
    app.confirm(question, args.yes)?;
    each(app, args, Deed::Delete).await
}

/// `keys purge`.
pub async fn purge(app: &App, args: &RemoveArgs) -> Outcome {
    let question = "Purge these keys? Nothing brings them back, nor what is wrapped under them.";
    app.confirm(question, args.yes)?;
    each(app, args, Deed::Purge).await
}

/// Every key is tried; those of which the gateway did not say that it is done are named.
async fn each(app: &App, args: &RemoveArgs, deed: Deed) -> Outcome {
    let gateway = app.gateway(&args.instance).await?;
    let past = deed.past();
    let mut refused = Vec::new();
    for id in &args.ids {
        match deed.of(&gateway, &id.to_string()).await {
            Ok(()) => {
                app.object(&json!({ "id": id, "done": past }))?;
                app.line(format!("{id}  {past}"))?;
            }
            Err(error) => refused.push((id, Refusal::of(error))),
        }
    }
    if refused.is_empty() {
        app.ok(format!("{} {past}.", args.ids.len()))?;
        return Ok(());
    }
    let lines: Vec<_> =
        refused.iter().map(|(id, refusal)| format!("  {id}: {}", refusal.what)).collect();
    let what =
        format!("{} of {} were not {past}\n{}", refused.len(), args.ids.len(), lines.join("\n"));
    let safe = match refused.iter().any(|(_, refusal)| refusal.is_unsure) {
        true => "a key whose answer was lost may be done: the same command may be run again",
        false => "the keys named have not changed",
    };
    Err(Failure::new(worst(&refused), "keys-refused", what).safe(safe))
}

/// Why a key is named.
struct Refusal {
    exit: Exit,
    what: String,
    /// Whether it may be done all the same.
    is_unsure: bool,
}

impl Refusal {
    fn of(error: CallError) -> Self {
        let is_unsure = match &error {
            CallError::Refused(refused) => refused.status >= 500,
            CallError::Unreachable(_) | CallError::Unreadable(_) => true,
        };
        let is_for_now =
            matches!(&error, CallError::Refused(refused) if refused.retry_after_s.is_some());
        let failure = Failure::from(error);
        let exit = if is_for_now { Exit::Unfinished } else { failure.exit() };
        Self { exit, what: failure.what().to_owned(), is_unsure }
    }
}

/// What a script has to know first: that the state is not known, then that the same command helps.
fn worst(refused: &[(&KeyId, Refusal)]) -> Exit {
    let is_there = |exit| refused.iter().any(|(_, refusal)| refusal.exit == exit);
    let order = [Exit::Unreachable, Exit::Unfinished, Exit::NotPermitted, Exit::Unmet];
    order.into_iter().find(|exit| is_there(*exit)).unwrap_or(Exit::Failed)
}
