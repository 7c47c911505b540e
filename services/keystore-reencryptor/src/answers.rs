//! What units answer to pages and second looks, handed to whoever asked.

use bus::Received;
use bus::driver::Outcome;
use machines::envelope::{self, Reader};
use protocol::Role;
use protocol::codec;
use protocol::envelope::{Header, Kind};
use protocol::page::{CheckAnswer, PageAnswer};

use crate::Reencryptor;
use crate::job::JobAnswer;

impl Reencryptor {
    pub(crate) async fn take_answer(&mut self, received: &Received) -> Outcome {
        let reader = Reader { id: self.id, role: Role::Reencryptor };
        let opened = match envelope::open(&received.body, reader, &self.trust) {
            Ok(opened) => opened,
            Err(error) => return Outcome { dead: Some(error.reason()), ..Outcome::default() },
        };
        let is_look = opened.header.kind == Kind::CheckAnswer;
        // Recovery units serve no keys, and give second looks.
        let is_fit = match opened.sender_role {
            Some(Role::OperationalUnit) => true,
            Some(Role::RecoveryUnit) => is_look,
            _ => false,
        };
        if !is_fit {
            return Outcome { dead: Some("not-an-operational-unit"), ..Outcome::default() };
        }
        let taken = match is_look {
            true => self.take_look(&opened.header, opened.body).await,
            false => self.take_page(&opened.header, opened.body).await,
        };
        Outcome { dead: taken.err(), ..Outcome::default() }
    }

    async fn take_page(&self, header: &Header, body: &[u8]) -> Result<(), &'static str> {
        let answer: PageAnswer = codec::decode(body).map_err(|error| error.reason())?;
        if let (Some(job), Some(asked)) = (&self.job, header.in_answer_to) {
            job.take_answer(asked, header.sender, JobAnswer::Page(answer)).await;
        }
        Ok(())
    }

    async fn take_look(&self, header: &Header, body: &[u8]) -> Result<(), &'static str> {
        let answer: CheckAnswer = codec::decode(body).map_err(|error| error.reason())?;
        let Some(asked) = header.in_answer_to else { return Ok(()) };
        let meanwhile = self.meanwhile.as_ref().map(|meanwhile| &meanwhile.check);
        for check in self.check.iter().chain(meanwhile) {
            check.take_answer(asked, answer.clone()).await;
        }
        if let Some(job) = &self.job {
            job.take_answer(asked, header.sender, JobAnswer::Look(answer)).await;
        }
        Ok(())
    }
}
