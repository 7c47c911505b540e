//! Standing orders: leave, signed once, for coordinators to order rotations themselves.

use crypto::domain;
use protocol::api::ManifestView;
use protocol::codec;
use protocol::manifest::Manifest;
use protocol::order::{SignedStandingOrder, StandingOrder};

use crate::app::App;
use crate::cli::administration::StandingArgs;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::show::manifest::holds;
use crate::show::time::{moment, span};
use crate::sigkeys::signer::Signer;

/// How long a standing order lasts if nothing is said.
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// What the arguments ask for under a manifest; none if they ask for none.
pub fn wanted(args: &StandingArgs, manifest: &Manifest) -> Outcome<Option<StandingOrder>> {
    let Some(interval_s) = args.standing_order else { return Ok(None) };
    let now = service::now();
    let until = args.until.unwrap_or_else(|| now.plus_ms(YEAR_MS));
    let usage = |what: &str| Err(Failure::usage(what));
    if until <= now {
        return usage("the standing order would have ended already: --until lies in the past");
    }
    if args.hold_before_clear > 0 && interval_s <= args.hold_before_clear {
        return usage("the interval of a standing order must be above its hold before clear");
    }
    Ok(Some(StandingOrder {
        instance: manifest.instance,
        manifest_serial: manifest.serial,
        not_more_often_than_s: interval_s,
        pause_between_tries_s: args.pause_between_tries,
        hold_after_commit_s: args.hold_after_commit,
        hold_before_clear_s: args.hold_before_clear,
        until,
    }))
}

/// Whether there is one already that says the same. One that ends a year from some other `now` does
/// too: only an end that was asked for counts.
pub fn is_there(view: &ManifestView, wanted: &StandingOrder, is_until_named: bool) -> bool {
    let Some(found) = &view.standing_order else { return false };
    let same_end = StandingOrder { until: wanted.until, ..found.clone() };
    match is_until_named {
        true => found == wanted,
        false => same_end == *wanted && found.until > service::now(),
    }
}

/// The one that goes on under the next manifest. The coordinator shows it unsigned, so one that is not of
/// the manifest before is not taken for what the administrators have signed.
pub fn kept(before: &Manifest, next: &Manifest, found: &StandingOrder) -> Outcome<StandingOrder> {
    let (serial, named) = (before.serial, found.manifest_serial);
    if named == serial && found.instance == before.instance {
        return Ok(StandingOrder { manifest_serial: next.serial, ..found.clone() });
    }
    let what = format!(
        "the standing order that the coordinator shows is under manifest {named} of instance {}, not \
         under manifest {serial} of {}",
        found.instance, before.instance
    );
    Err(Failure::new(Exit::Failed, "draft-differs", what)
        .safe("nothing was signed, nothing has changed")
        .next("the same command without --keep-standing-order, then keyhelm auto-init --standing-order DURATION"))
}

/// Signs a standing order and gives it to the coordinator.
pub async fn give(
    app: &App,
    coordinator: &Coordinator,
    standing: &StandingOrder,
    signer: &Signer,
) -> Outcome {
    coordinator.give_standing_order(standing.instance, &signed(standing, signer)).await?;
    tell(app, standing);
    Ok(())
}

/// Signs a standing order.
pub fn signed(standing: &StandingOrder, signer: &Signer) -> SignedStandingOrder {
    let bytes = codec::encode(standing);
    SignedStandingOrder { signatures: signer.sign(domain::STANDING_ORDER, &bytes), bytes }
}

/// Says what is allowed from now on.
pub fn tell(app: &App, standing: &StandingOrder) {
    app.note(format!("Standing order: {}.", in_words(standing)));
}

/// What it allows.
pub fn in_words(standing: &StandingOrder) -> String {
    let often = match standing.not_more_often_than_s {
        0 => "as often as asked".to_owned(),
        seconds => format!("at most once in {}", span(u64::from(seconds))),
    };
    let holds = holds(standing);
    let pause = match standing.pause_between_tries_s {
        0 => String::new(),
        seconds => format!(", {} between two tries", span(u64::from(seconds))),
    };
    format!("coordinators may rotate {often}{pause}, until {}{holds}", moment(standing.until))
}
