//! Goal: a unit answers everything that it can be asked in every state that it can be in as the table
//! says: it does it and is then in a state of the table, or answers from state, or refuses with a
//! stable code; and unless it does it, not one saved byte changes. Method: every command and step, for
//! this order and four others, sound and lacking, sent to a unit put into every state; and once more.
//!
//! States are told apart up to how much, how often and how late: counters, epochs, numbers, manifests.

mod asks;
mod evidence;
mod places;
mod recovering;
mod story;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use protocol::command::{Command, Step};
use protocol::envelope::{Kind as Body, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::order::Hold;
use protocol::{Epoch, UnixMillis};

use self::asks::{Ask, What, asked_by};
use self::places::{At, Place, Which, place_of};
use self::story::{AFTER_HOLD, IN_HOLD, Plot, Story, put, unit_of};
use self::table::{Kind, Outcome, expected};
use crate::world::{Answer, EPOCH, World, coordinator, reencryptor, unit_id};

/// In which rotation a state is looked at, and when.
const fn plot_of(at: At) -> Plot {
    match at {
        At::Imprint
        | At::Settled
        | At::Bound
        | At::Uncommitted
        | At::Committed
        | At::Promoted
        | At::Cleared
        | At::Aborted
        | At::Removed => Plot::Plain,
        At::HoldAfterCommit
        | At::HoldAfterCommitOver
        | At::PromotedWithHold
        | At::HoldBeforeClear
        | At::HoldBeforeClearOver
        | At::HoldEndSaved => Plot::WithHolds,
        At::Enrolled
        | At::JoiningBound
        | At::JoiningUncommitted
        | At::JoiningCommitted
        | At::JoiningPromoted
        | At::JoiningAborted => Plot::Joining,
        At::RecoverBound | At::Recovered => Plot::Recovering,
        At::GivingBound | At::Given => Plot::Giving,
    }
}

const fn time_of(at: At) -> UnixMillis {
    match at {
        At::HoldAfterCommitOver | At::HoldBeforeClearOver | At::HoldEndSaved => AFTER_HOLD,
        _ => IN_HOLD,
    }
}

/// Who has cleared, or is not asked any more, has nothing to be reminded of.
fn all_places() -> impl Iterator<Item = Place> {
    let can_be_set_back =
        |at: &At| !matches!(at, At::Cleared | At::Recovered | At::Given | At::Removed);
    let set_back = At::ALL.iter().copied().filter(can_be_set_back).map(Place::set_back);
    At::ALL.iter().copied().map(Place::at).chain(set_back)
}

/// The saved bytes of a unit in this state.
fn saved(story: &mut Story, place: Place) -> Vec<u8> {
    let bytes = story.saved[&place.at].clone();
    if !place.is_set_back {
        return bytes;
    }
    put(&mut story.world, story.unit, &bytes);
    let report = story.evidence.newest.clone();
    let answer = story.world.command(story.unit, Command::Remind { report });
    assert_eq!((answer.code().as_str(), answer.is_changed), ("taken", true));
    story.world.state_bytes(story.unit)
}

fn command(story: &mut Story, ask: Ask) -> Command {
    let run = story.run(ask.which).clone();
    let to = story.run(Which::This).to;
    let other = protocol::Pattern([0xee; 32]);
    let step = |step| Command::Step { order: run.reference, step };
    let flipped = KeystoreStanding::Flipped;
    let said = &story.evidence;
    match ask.what {
        What::Survey => Command::Survey { order: Some(run.signed) },
        What::Inspect => Command::Inspect { order: run.signed },
        What::InspectUnsigned => Command::Inspect { order: story.unsigned(ask.which) },
        What::Abort => Command::Abort { order: run.signed },
        What::AbortUnsigned => Command::Abort { order: story.unsigned(ask.which) },
        What::Generate => step(Step::Generate { offers: said.offers.clone() }),
        What::GenerateForNobody => step(Step::Generate { offers: Vec::new() }),
        What::GenerateForOther => step(Step::Generate { offers: vec![said.foreign_offer.clone()] }),
        What::Install => step(Step::Install { transfer: said.transfer.clone() }),
        What::InstallOther => step(Step::Install { transfer: said.transfer_other.clone() }),
        What::InstallForOther => step(Step::Install { transfer: said.transfer_for_other.clone() }),
        What::InstallForged => {
            let mut transfer = said.transfer.clone();
            transfer.signature.0[0] ^= 1;
            step(Step::Install { transfer })
        }
        What::Commit | What::ByReencryptor | What::OfLowerEpoch => {
            step(Step::Commit { pattern: to })
        }
        What::CommitOther => step(Step::Commit { pattern: other }),
        What::Promote => step(Step::Promote { certificate: said.committed.clone() }),
        What::PromoteLacking => step(Step::Promote { certificate: said.committed_lacking.clone() }),
        What::Clear => step(Step::Clear { certificate: story.flipped(flipped, 5, None) }),
        What::ClearLacking => {
            let certificate = story.flipped(KeystoreStanding::Switched, 5, None);
            step(Step::Clear { certificate })
        }
        What::ClearNamed => {
            let taken = story.world.units[story.unit].state().rotation.as_ref();
            let seen = taken.and_then(|taken| taken.holds.flipped.as_ref());
            let end = seen.and_then(|seen| seen.end_nonce);
            step(Step::Clear { certificate: story.flipped(flipped, 5, Some(end.unwrap_or(0))) })
        }
        What::ClearRestored => step(Step::Clear { certificate: story.flipped(flipped, 6, None) }),
        What::ClearRecovered => step(Step::Clear { certificate: said.recovered.clone() }),
        What::EndHoldAfterCommit => {
            Command::EndHold { statement: story.hold_end(ask.which, Hold::AfterCommit, 2) }
        }
        What::EndHoldBeforeClear => {
            Command::EndHold { statement: story.hold_end(ask.which, Hold::BeforeClear, 2) }
        }
        What::EndHoldUnsigned => {
            Command::EndHold { statement: story.hold_end(ask.which, Hold::BeforeClear, 1) }
        }
        What::Remind => Command::Remind { report: said.newest.clone() },
        What::RemindOlder => Command::Remind { report: said.older.clone() },
        What::RemindOfOther => Command::Remind { report: said.newest_of_other.clone() },
        What::RemindForged => {
            let mut report = said.newest.clone();
            *report.last_mut().unwrap() ^= 1;
            Command::Remind { report }
        }
        What::ManifestKnown => Command::TakeManifest { chain: story.world.manifests.clone() },
        What::ManifestNext => with(&story.world, said.next.clone()),
        What::ManifestAmends => with(&story.world, said.amends.clone()),
        What::ManifestRemoves => with(&story.world, said.removes.clone()),
        What::ManifestUnsigned => {
            let mut next = said.next.clone();
            next.signatures.truncate(1);
            with(&story.world, next)
        }
    }
}

fn with(world: &World, next: protocol::manifest::SignedManifest) -> Command {
    let chain = world.manifests.iter().cloned().chain([next]).collect();
    Command::TakeManifest { chain }
}

/// The command in its envelope.
fn sealed(story: &mut Story, ask: Ask, command: &Command) -> Vec<u8> {
    let (by, epoch) = match ask.what {
        What::ByReencryptor => (reencryptor(), EPOCH),
        What::OfLowerEpoch => (coordinator(), Epoch { number: EPOCH.number - 1, ..EPOCH }),
        _ => (coordinator(), EPOCH),
    };
    let to = Recipient::Process(unit_id(story.unit));
    story.world.seal(&by, to, Body::Command, epoch, command)
}

/// Asks it of a unit in this state, and what came of it must be what the table says.
fn tried(
    story: &mut Story,
    (kind, place): (Kind, Place),
    before: &[u8],
    ask: Ask,
    differences: &mut Vec<String>,
) -> Outcome {
    let (unit, who) = (story.unit, unit_id(story.unit));
    put(&mut story.world, unit, before);
    story.world.now = time_of(place.at);
    let command = command(story, ask);
    assert!(asked_by(&command).contains(&ask.what), "{ask} stands for another command");
    let bytes = sealed(story, ask, &command);
    let answer = story.world.deliver(unit, &bytes);
    let after = story.world.state_bytes(unit);
    let context = format!("{kind:?}, {place}: {ask}: {}", answer.text());
    let state = story.world.units[unit].state();
    let (reached, order) = place_of(state, who, time_of(place.at));
    let is_it = |(_, run): &(&Which, &crate::world::Run)| Some(run.reference) == order;
    // That of initialisation counts as this one's.
    let which = story.orders.iter().find(is_it).map_or(Which::This, |(which, _)| *which);
    let outcome = match (answer.code().as_str(), answer.is_changed) {
        ("taken", false) => Outcome::Same,
        ("taken", true) => Outcome::To(which, reached),
        (code, _) => Outcome::No(code.to_owned().leak()),
    };
    let wanted = match expected(kind, place, ask) {
        // A manifest or a reminder comes in no order.
        Outcome::To(_, reached) if names_no_order(ask.what) => Outcome::To(which, reached),
        wanted => wanted,
    };
    if outcome != wanted {
        differences.push(format!("{context}\n    {} instead of {}", shown(outcome), shown(wanted)));
        return outcome;
    }
    assert_eq!(answer.is_changed, before != after.as_slice(), "{context}: saved bytes");
    let registers = answer.report.registers;
    assert_eq!(registers, state.registers(), "{context}: the report carries the state");
    assert_eq!(answer.report.state_counter, state.counter, "{context}: and its counter");
    if ask.what == What::Survey && !matches!(place.at, At::Imprint | At::Removed) {
        let inspect = Ask { what: What::Inspect, ..ask };
        let refusal = &answer.report.facts.would_refuse;
        let would =
            refusal.as_ref().map_or(Outcome::Same, |it| Outcome::No(it.code.clone().leak()));
        let is_refused = matches!(expected(kind, place, inspect), Outcome::No(_));
        let wanted = if is_refused { expected(kind, place, inspect) } else { Outcome::Same };
        assert_eq!(would, wanted, "{context}: a survey says what inspect would");
    }
    let is_sealed = answer.transfers.is_some();
    let seals = matches!(ask.what, What::Generate | What::GenerateForNobody);
    assert_eq!(is_sealed, seals && answer.code() == "taken", "{context}: a key is sealed");
    again(story, &bytes, &answer, &after, &context);
    outcome
}

/// The very same message once more changes nothing.
fn again(story: &mut Story, bytes: &[u8], first: &Answer, after: &[u8], context: &str) {
    let answer = story.world.deliver(story.unit, bytes);
    // Whoever has just begun a hold says so.
    let may_be = [first.code(), "holding".to_owned()];
    let may_be = if first.is_changed { &may_be[..] } else { &may_be[..1] };
    assert!(may_be.contains(&answer.code()), "{context}, again: {}", answer.code());
    assert!(!answer.is_changed, "{context}, again");
    assert_eq!(story.world.state_bytes(story.unit), after, "{context}, again: saved bytes");
    assert_eq!(answer.report.registers, first.report.registers, "{context}, again");
}

const fn names_no_order(what: What) -> bool {
    matches!(
        what,
        What::Remind
            | What::RemindOlder
            | What::ManifestKnown
            | What::ManifestNext
            | What::ManifestAmends
            | What::ManifestRemoves
    )
}

type Found = BTreeMap<(Place, Outcome), Vec<Ask>>;

/// Every state of one kind of unit, and everything asked in it.
fn all_of(kind: Kind) -> Found {
    let mut found: Found = BTreeMap::new();
    let mut differences = Vec::new();
    // An operational unit never gives its master key away.
    let all = [Plot::Plain, Plot::WithHolds, Plot::Joining, Plot::Recovering, Plot::Giving];
    let plots = all.into_iter().filter(|it| *it != Plot::Giving || kind != Kind::Operational);
    for plot in plots {
        let mut story = Story::told(kind, plot);
        for place in all_places().filter(|place| plot_of(place.at) == plot) {
            let before = saved(&mut story, place);
            let state = machines::unit::state::UnitState::from_bytes(&before).unwrap();
            let (reached, _) = place_of(&state, unit_id(unit_of(kind)), time_of(place.at));
            if reached != place {
                differences.push(format!("{kind:?}: {place} cannot be reached: it is {reached}"));
                continue;
            }
            for ask in Ask::all() {
                let outcome = tried(&mut story, (kind, place), &before, ask, &mut differences);
                found.entry((place, outcome)).or_default().push(ask);
            }
        }
    }
    assert!(differences.is_empty(), "not as the table says:\n{}", differences.join("\n"));
    found
}

#[test]
fn every_command_in_every_state_does_what_the_table_says() {
    let threads = Kind::ALL.iter().map(|kind| (*kind, std::thread::spawn(move || all_of(*kind))));
    let all: Vec<_> = threads.collect();
    let mut reached = BTreeSet::new();
    let mut count = 0;
    let mut operational = BTreeMap::new();
    for (kind, thread) in all {
        let found = thread.join().unwrap();
        count += found.values().map(Vec::len).sum::<usize>();
        for ((place, outcome), asks) in &found {
            if let Outcome::To(_, next) = outcome
                && next != place
            {
                reached.insert(*next);
            }
            // Of recovery units only what is otherwise.
            if operational.get(&(*place, *outcome)) != Some(asks) {
                println!("{kind:?} | {place} | {} | {}", shown(*outcome), named(asks));
            }
        }
        if kind == Kind::Operational {
            operational = found;
        }
    }
    println!("{count} pairs of a state and what is asked in it");
    // The earlier rotation was not one of these orders, and the first commit of an order with a hold
    // was made on the way there.
    let by_none: Vec<_> = all_places().filter(|place| !reached.contains(place)).collect();
    let start = [At::Imprint, At::Settled, At::HoldAfterCommit].map(Place::at);
    assert_eq!(by_none, start, "no command leads to them");
}

/// What is asked for all orders, or for all but this one, is named once.
fn named(asks: &[Ask]) -> String {
    let mut of_each: BTreeMap<What, Vec<Which>> = BTreeMap::new();
    for ask in asks {
        of_each.entry(ask.what).or_default().push(ask.which);
    }
    let name = |(what, orders): (&What, &Vec<Which>)| match orders.as_slice() {
        all if all == Which::ALL => format!("{what:?}(all)"),
        others if others == &Which::ALL[1..] => format!("{what:?}(others)"),
        some => some
            .iter()
            .map(|which| Ask { what: *what, which: *which }.to_string())
            .collect::<Vec<_>>()
            .join(" "),
    };
    of_each.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn shown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Same => "=".to_owned(),
        Outcome::No(code) => code.to_owned(),
        Outcome::To(Which::This, place) => format!("-> {place}"),
        Outcome::To(which, place) => format!("-> {place} in {which:?}"),
    }
}

#[test]
fn a_later_epoch_is_saved_whatever_comes_of_the_command() {
    let mut story = Story::told(Kind::Operational, Plot::Plain);
    let later = Epoch { number: EPOCH.number + 1, ..EPOCH };
    let places = all_places().filter(|place| plot_of(place.at) == Plot::Plain);
    for place in places.filter(|place| !matches!(place.at, At::Imprint | At::Removed)) {
        let before = saved(&mut story, place);
        put(&mut story.world, story.unit, &before);
        let ask = Ask { what: What::Commit, which: Which::Lower };
        let command = command(&mut story, ask);
        let to = Recipient::Process(unit_id(story.unit));
        let bytes = story.world.seal(&coordinator(), to, Body::Command, later, &command);
        let answer = story.world.deliver(story.unit, &bytes);
        assert_eq!((answer.code().as_str(), answer.is_changed), ("not-bound", true), "{place}");
        // Nothing else has changed.
        story.world.restart_with(story.unit, |state| {
            assert_eq!(state.epoch, later);
            (state.epoch, state.counter) = (EPOCH, state.counter - 1);
        });
        assert_eq!(story.world.state_bytes(story.unit), before, "{place}");
    }
}
