//! What the broker is shown of a process at each connection: user and password as they are by then, so
//! that they can be changed while processes run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use lapin::auth::AuthProvider;
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPUri, SASLMechanism};

use crate::BrokerUrl;

/// User and password of a connection.
pub(super) struct Login {
    url: BrokerUrl,
    /// What was shown last: a file that is just being replaced may not be there.
    last: Mutex<LongString>,
    /// How often they were shown since the broker took a connection.
    shown: AtomicU32,
}

impl Login {
    /// As they are now; none where the broker's URL asks for something else than a password (RFC 4616).
    pub(super) fn of(url: BrokerUrl) -> Result<Option<Arc<Self>>, String> {
        let uri = parse(&url)?;
        let is_plain = uri.query.auth_mechanism.is_none_or(|it| it == SASLMechanism::Plain);
        let last = Mutex::new(plain(&uri));
        Ok(is_plain.then(|| Arc::new(Self { url, last, shown: AtomicU32::new(0) })))
    }

    /// The broker has taken the connection.
    pub(super) fn is_taken(&self) {
        self.shown.store(0, Ordering::Relaxed);
    }

    fn now(&self) -> LongString {
        let mut last = match self.last.lock() {
            Ok(last) => last,
            // One value, set whole.
            Err(poisoned) => poisoned.into_inner(),
        };
        match parse(&self.url) {
            Ok(uri) => *last = plain(&uri),
            Err(error) => {
                tracing::warn!(error, "the broker's URL cannot be read: as it was before")
            }
        }
        last.clone()
    }
}

fn parse(url: &BrokerUrl) -> Result<AMQPUri, String> {
    url.read()?.parse().map_err(|error| format!("the broker's URL is not understood: {error}"))
}

fn plain(uri: &AMQPUri) -> LongString {
    let user = &uri.authority.userinfo;
    format!("\0{}\0{}", user.username, user.password).into()
}

/// For `lapin`, at each connection.
pub(super) struct Shown(pub(super) Arc<Login>);

impl AuthProvider for Shown {
    fn mechanism(&self) -> ShortString {
        SASLMechanism::Plain.name().into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        let times = self.0.shown.fetch_add(1, Ordering::Relaxed);
        if times > 0 {
            tracing::warn!(
                times,
                "the broker is there and has not let this process in: see that it knows the user and the \
                 password in amqp_url (amqp_url_file is read anew each time), that its virtual host is \
                 there, and that no limit keeps it out; it is tried on"
            );
        }
        Ok(self.0.now())
    }
}
