//! Where the broker is, and as whom it is spoken to.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

type Read = dyn Fn() -> Result<Zeroizing<String>, String> + Send + Sync;

/// A broker's URL. It is read anew whenever the broker has to be shown user and password.
#[derive(Clone)]
pub struct BrokerUrl(Arc<Read>);

impl BrokerUrl {
    /// One that is read by `read`, from a file that may change.
    pub fn read_by(
        read: impl Fn() -> Result<Zeroizing<String>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// As it is now, or why it cannot be read.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        (self.0)()
    }
}

impl<T: AsRef<str> + ?Sized> From<&T> for BrokerUrl {
    fn from(text: &T) -> Self {
        let text = Zeroizing::new(text.as_ref().to_owned());
        Self::read_by(move || Ok(text.clone()))
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerUrl")
    }
}
