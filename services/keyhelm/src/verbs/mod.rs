//! What each verb does.

pub mod auto_init;
pub mod explain;
pub mod fingerprints;
pub mod follow;
pub mod hold_end;
mod joining;
mod key_check;
pub mod keys;
pub mod manifest_change;
pub mod orders;
mod patience;
pub mod receipts;
pub mod recover;
pub mod rotate;
pub mod rotations;
pub mod shell;
pub mod sigkeys;
pub mod standing;
pub mod token;
pub mod units;
pub mod watch;

use crate::app::App;
use crate::cli::explain::ExplainArgs;
use crate::cli::{Cli, Verb};
use crate::embedded::{demo, dev};
use crate::failure::Outcome;
use crate::setup;

/// Does what the command line says.
pub async fn run(cli: Cli) -> Outcome {
    // These need no cluster, so a broken context is no obstacle to them.
    match cli.verb {
        Verb::Demo(args) => return demo::run(args).await,
        Verb::Dev(args) => return Ok(dev::run(args).await?),
        Verb::Completions(args) => return shell::completions(&args),
        Verb::Man(args) => return shell::man(&args),
        Verb::VerifyReceipt(args) => return receipts::verify(&App::local(&cli.global), &args),
        Verb::Explain(ExplainArgs { code: Some(code), .. }) => {
            return explain::section(&code, cli.global.json);
        }
        _ => {}
    }
    let app = App::new(&cli.global)?;
    match cli.verb {
        Verb::Demo(_)
        | Verb::Dev(_)
        | Verb::Completions(_)
        | Verb::Man(_)
        | Verb::VerifyReceipt(_) => Ok(()),
        Verb::Setup(args) => setup::run(&app, &args),
        Verb::Explain(args) => explain::run(&app, &args).await,
        Verb::Instances => units::instances(&app).await,
        Verb::CryptoUnits(instance) => units::list(&app, &instance).await,
        Verb::CryptoUnitAdd(_) | Verb::CryptoUnitRm(_) => units::always_selected(&app),
        Verb::CryptoUnitCompare(instance) => units::compare(&app, &instance).await,
        Verb::CryptoUnitMks(instance) => units::registers(&app, &instance).await,
        Verb::CryptoUnitAdmins(instance) => units::administrators(&app, &instance).await,
        Verb::CryptoUnitThrhlds(instance) => units::thresholds(&app, &instance).await,
        Verb::Manifest(args) => units::manifest(&app, &args).await,
        Verb::AutoInit(args) => auto_init::run(&app, &args).await,
        Verb::AutoMkRotate(args) => rotate::run(&app, &args).await,
        Verb::AutoMkRecover(args) => recover::run(&app, &args).await,
        Verb::Rotations(args) => rotations::run(&app, &args).await,
        Verb::Receipt(args) => receipts::fetch(&app, &args).await,
        Verb::Watch(args) => watch::run(&app, &args).await,
        Verb::Abort(args) => rotations::abort(&app, &args).await,
        Verb::HoldEnd(args) => hold_end::run(&app, &args).await,
        Verb::CryptoUnitEnroll(args) => manifest_change::enroll(&app, &args).await,
        Verb::CryptoUnitRetire(args) => manifest_change::retire(&app, &args).await,
        Verb::CryptoUnitAdminAdd(args) => manifest_change::add_administrators(&app, &args).await,
        Verb::CryptoUnitAdminRm(args) => manifest_change::remove_administrators(&app, &args).await,
        Verb::CryptoUnitThrhldSet(args) => manifest_change::set_thresholds(&app, &args).await,
        Verb::Sigkeys => sigkeys::list(&app),
        Verb::SigkeyAdd(args) => sigkeys::add(&app, &args),
        Verb::SigkeyRm(args) => sigkeys::remove(&app, &args),
        Verb::SigkeySel(args) => sigkeys::select(&app, &args),
        Verb::Keys(args) => keys::run(&app, &args.verb).await,
        Verb::Token(args) => token::run(&app, &args.verb),
    }
}
