//! Looking at instances and crypto units.

use protocol::api::UnitsView;

use super::receipts;
use crate::app::App;
use crate::cli::{InstanceArg, ManifestArgs};
use crate::failure::Outcome;
use crate::show::{
    compare as registers_of, instances as instances_of, manifest as manifest_of, units,
};

/// `instances`.
pub async fn instances(app: &App) -> Outcome {
    let found = app.coordinator()?.instances().await?;
    for instance in &found {
        app.object(instance)?;
    }
    app.line(instances_of::table(&found))?;
    Ok(())
}

/// `cryptounits`.
pub async fn list(app: &App, wanted: &InstanceArg) -> Outcome {
    each(app, wanted, false, |view| units::list(&view.units)).await?;
    app.line(format!("\n{}", units::LIST_FOOTER))?;
    Ok(())
}

/// `cryptounit-compare`.
pub async fn compare(app: &App, wanted: &InstanceArg) -> Outcome {
    each(app, wanted, true, units::compare).await
}

/// `cryptounit-mks`.
pub async fn registers(app: &App, wanted: &InstanceArg) -> Outcome {
    each(app, wanted, false, |view| registers_of::unit_registers(&view.units)).await
}

/// `cryptounit-admins`.
pub async fn administrators(app: &App, wanted: &InstanceArg) -> Outcome {
    each(app, wanted, false, |view| units::administrators(&view.units)).await
}

/// `cryptounit-thrhlds`.
pub async fn thresholds(app: &App, wanted: &InstanceArg) -> Outcome {
    each(app, wanted, false, |view| units::thresholds(&view.units)).await
}

/// `manifest`.
pub async fn manifest(app: &App, args: &ManifestArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    if let Some(out) = &args.out {
        return receipts::write_manifests(app, &coordinator, &args.instance, out).await;
    }
    let mut lacking = None;
    for instance in app.instances(&coordinator, &args.instance).await? {
        let found = coordinator.manifest(instance.id).await?;
        app.line(format!("{}\n", instances_of::heading(instance.id, &instance.name)))?;
        match found {
            None => {
                app.line("No manifest yet: run keyhelm auto-init.\n")?;
                lacking.get_or_insert(instance);
            }
            Some(view) => {
                app.object(&view)?;
                app.line(format!("{}\n", manifest_of::screen(&view)))?;
            }
        }
    }
    // A program that gets nothing must be told why.
    match lacking.filter(|_| app.is_json()) {
        Some(instance) => Err(receipts::no_manifest(&instance)),
        None => Ok(()),
    }
}

/// `cryptounit-add` and `cryptounit-rm`.
pub fn always_selected(app: &App) -> Outcome {
    let sentence = "All crypto units of a service instance are always selected: a rotation of only \
                    some of them would lose keys. To change which units belong to an instance, use \
                    cryptounit-enroll and cryptounit-retire.";
    app.object(&serde_json::json!({ "text": sentence }))?;
    app.ok(sentence)?;
    Ok(())
}

/// The same screen for the instance that is named, or for each of them.
async fn each(
    app: &App,
    wanted: &InstanceArg,
    is_compared: bool,
    screen: impl Fn(&UnitsView) -> String,
) -> Outcome {
    let coordinator = app.coordinator()?;
    let instances = app.instances(&coordinator, wanted).await?;
    app.line(format!("API endpoint: {}", coordinator.http.url()))?;
    for instance in instances {
        let view = match is_compared {
            true => coordinator.compare(instance.id).await?,
            false => coordinator.units(instance.id).await?,
        };
        app.object(&view)?;
        app.line(format!("\n{}\n\n{}", units::instance_line(&view), screen(&view)))?;
    }
    Ok(())
}
