//! Issuing tokens.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crypto::random::{process_rng, uuid_v4};
use identity::{AUDIENCE, Claims, Issuer, IssuerError};
use serde_json::json;

use crate::app::App;
use crate::cli::local::{IssueArgs, KeySetArgs, MakeKeyArgs, TokenVerb};
use crate::failure::{Exit, Failure, Outcome};
use crate::show::time::moment;

/// `token`.
pub fn run(app: &App, verb: &TokenVerb) -> Outcome {
    match verb {
        TokenVerb::Issue(args) => issue(app, args),
        TokenVerb::MakeKey(args) => make_key(app, args),
        TokenVerb::KeySet(args) => key_set(app, args),
    }
}

fn issue(app: &App, args: &IssueArgs) -> Outcome {
    if args.valid_for == 0 {
        return Err(Failure::usage("a token is valid for a while: --valid-for 12h"));
    }
    let issuer = Issuer::from_file(&args.key).map_err(refused)?;
    let now = service::now();
    let issued_at_s = now.0 / 1000;
    let claims = Claims {
        iss: args.issuer.clone(),
        sub: args.subject.clone(),
        aud: AUDIENCE.to_owned(),
        iat: issued_at_s,
        exp: issued_at_s + u64::from(args.valid_for),
        jti: uuid_v4(&mut process_rng()).to_string(),
        roles: args.role.clone(),
        instances: args.instances.clone(),
    };
    let token = issuer.issue(&claims).map_err(refused)?;
    let until = moment(now.plus_ms(u64::from(args.valid_for) * 1000));
    let Some(out) = &args.out else {
        app.object(&json!({ "token": token, "jti": claims.jti, "expires_at": until }))?;
        app.line(token)?;
        return Ok(());
    };
    write_new(out, &token)?;
    let file = out.display().to_string();
    app.object(&json!({ "token_file": file, "jti": claims.jti, "expires_at": until }))?;
    app.ok(format!("Token of {} in {file}, valid until {until}.", claims.sub))?;
    Ok(())
}

fn make_key(app: &App, args: &MakeKeyArgs) -> Outcome {
    let issuer = Issuer::create(&args.file, &mut process_rng()).map_err(refused)?;
    app.note(format!("The key is in {}; servers are given this:", args.file.display()));
    show_set(app, &issuer)
}

fn key_set(app: &App, args: &KeySetArgs) -> Outcome {
    show_set(app, &Issuer::from_file(&args.key).map_err(refused)?)
}

fn show_set(app: &App, issuer: &Issuer) -> Outcome {
    let text = issuer.jwks();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    app.object(&parsed)?;
    app.line(text.trim_end())?;
    Ok(())
}

fn write_new(path: &Path, token: &str) -> Outcome {
    let mut open = std::fs::OpenOptions::new();
    let write = |mut file: std::fs::File| writeln!(file, "{token}").and_then(|()| file.sync_all());
    open.write(true).create_new(true).mode(0o600).open(path).and_then(write).map_err(|error| {
        let what = format!("token file {}: {error}", path.display());
        Failure::new(Exit::Failed, "io", what).safe("no file was overwritten")
    })
}

fn refused(error: IssuerError) -> Failure {
    Failure::new(Exit::Failed, "issuer", error.to_string())
}
