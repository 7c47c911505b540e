//! A start that has every key opened first: how far that has come is shown while it is waited for.

use std::pin::pin;
use std::time::Duration;

use indicatif::ProgressBar;
use protocol::InstanceId;
use protocol::api::{KeyCheckView, StartRotation, Started};
use serde_json::json;

use crate::app::App;
use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::show::progress;

/// How often it is asked how far the check is.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Starts, or tries out; a check of all keys is watched meanwhile.
pub async fn watched(
    app: &App,
    coordinator: &Coordinator,
    instance: InstanceId,
    request: &StartRotation,
) -> Result<Started, CallError> {
    if !request.check_keys && request.plan.is_none() {
        return coordinator.start(instance, request).await;
    }
    app.note("Opening every key version in the crypto units....");
    // A check that was there before is another one's.
    let before = coordinator.key_check(instance).await.ok().flatten();
    let bar = ProgressBar::new(0);
    bar.set_style(progress::style("  {bar:24} {pos}/{len} keys {rate} {eta}"));
    let mut shown = None;
    let mut start = pin!(coordinator.start(instance, request));
    let started = loop {
        if let Ok(started) = tokio::time::timeout(ASK_EVERY, &mut start).await {
            break started;
        }
        // Whoever cannot be asked now is asked again; the start itself says what is wrong.
        let Ok(Some(view)) = coordinator.key_check(instance).await else { continue };
        let is_old =
            before.as_ref().is_some_and(|before| before.is_ended && before.check == view.check);
        if !is_old && shown.as_ref() != Some(&view) {
            tell(app, &bar, &view);
            shown = Some(view);
        }
    };
    bar.finish_and_clear();
    started
}

fn tell(app: &App, bar: &ProgressBar, view: &KeyCheckView) {
    if app.is_json() {
        // A line that cannot be written is noticed with the answer.
        let _ = app.object(&json!({ "type": "key-check", "key_check": view }));
        return;
    }
    bar.set_length(view.keystores.iter().map(|check| check.total_count).sum());
    bar.set_position(view.keystores.iter().map(|check| check.checked_count).sum());
}
