"""Rules of the machines, which the simulation, the machines' own tests, or both must miss."""

from . import SIMULATION, Mutant, of

TESTS = of("machines")
MACHINES = "shared/machines/src/"

MUTANTS = [
    Mutant(
        "flip only with every unit promoted",
        MACHINES + "rewrap/mod.rs",
        "    certificate::verify_units(certificate, order, to, Reached::Promoted, Judge::by(trust))?;\n",
        "    let _ = (certificate, trust, Reached::Promoted);\n",
    ),
    Mutant(
        "drop only with every unit cleared",
        MACHINES + "rewrap/mod.rs",
        "    certificate::verify_units(certificate, order, to, Reached::Cleared, Judge::by(trust))?;\n",
        "    let _ = (certificate, trust, to);\n",
    ),
    Mutant(
        "promote only with every unit committed",
        MACHINES + "unit/steps.rs",
        "            certificate::verify_units(certificate, &reference, to, Reached::Committed, judge)?;\n",
        "            { let _ = (judge, reference, to, Reached::Committed); certificate::Counters::new() };\n",
    ),
    Mutant(
        "a certificate has a report of every unit",
        MACHINES + "certificate.rs",
        "        let report =\n"
        "            seen.get(&unit.id).ok_or_else(|| CertificateRefusal::Missing(unit.name.clone()))?;\n",
        "        let Some(report) = seen.get(&unit.id) else { continue };\n",
    ),
    Mutant(
        "a unit that has promoted does not abort",
        MACHINES + "unit/steps.rs",
        "                Standing::Promoted => Err(UnitRefusal::Promoted),\n"
        "                Standing::Cleared => Err(UnitRefusal::Cleared),\n"
        "                Standing::Bound => {",
        "                Standing::Cleared => Err(UnitRefusal::Cleared),\n"
        "                Standing::Bound | Standing::Promoted => {",
    ),
    Mutant(
        "a unit that has promoted never goes back",
        MACHINES + "unit/steps.rs",
        "                Standing::Promoted => Err(UnitRefusal::Promoted),\n"
        "                Standing::Cleared => Err(UnitRefusal::Cleared),\n"
        "                Standing::Bound => {",
        "                Standing::Promoted => {\n"
        "                    taken.standing = Standing::Aborted;\n"
        "                    self.state.current = self.state.retiring.take();\n"
        "                    Ok(Done::CHANGED)\n"
        "                }\n"
        "                Standing::Cleared => Err(UnitRefusal::Cleared),\n"
        "                Standing::Bound => {",
    ),
    Mutant(
        "a generation is filled by its id, not by its number",
        MACHINES + "gate.rs",
        "|open: &Generation| open.id == generation && open.state ==",
        "|open: &Generation| (open.id == generation || open.number > 0) && open.state ==",
        needs=(TESTS, of("keystore")),
    ),
    Mutant(
        "a receipt takes the word of the reencryptor that is there",
        MACHINES + "rotation/receipt.rs",
        "    said.is_some_and(|report| manifest.names(report.reencryptor, Role::Reencryptor))\n",
        "    said.is_none_or(|it| manifest.names(it.reencryptor, Role::Reencryptor) || it.clock.0 > 0)\n",
        needs=(SIMULATION,),
    ),
    Mutant(
        "what is decided is not closed before a keystore has said how it stands",
        MACHINES + "rotation/recovery.rs",
        "            && self.rows().next().is_none()\n",
        "            && self.rows().count() == 77\n",
    ),
    Mutant(
        "a unit that was set back behind its promote does not abort",
        MACHINES + "unit/steps.rs",
        "            _ if order.purpose.recovery().is_some() => Ok(()),\n",
        "            _ if !order.purpose.recovery().is_some() => Ok(()),\n",
        # The model finds it too; the simulation's coordinator never asks for it.
        needs=(TESTS,),
    ),
    Mutant(
        "the abort of a later order lets nobody serve again who holds an older key",
        MACHINES + "unit/set_back.rs",
        "                Standing::Aborted => has_current(&registers, then),\n",
        "                Standing::Aborted => registers.current.is_some(),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that has aborted takes no step",
        MACHINES + "unit/steps.rs",
        "        if taken.standing == Standing::Aborted {\n"
        "            return Err(UnitRefusal::Aborted);\n"
        "        }\n",
        "        let _ = taken;\n",
    ),
    Mutant(
        "an aborted order is not taken again",
        MACHINES + "unit/admission.rs",
        "is_some_and(|taken| taken.reference == reference) {\n",
        "is_some_and(|taken| taken.reference == reference && taken.standing != Standing::Aborted) {\n",
    ),
    Mutant(
        "an abort of an unseen order is remembered",
        MACHINES + "unit/steps.rs",
        "        self.state.rotation = Some(TakenRotation::aborted(signed_order, order, reference));\n"
        "        Ok(Done::CHANGED)\n",
        "        let _ = (order, reference);\n"
        "        Ok(Done::BEFORE)\n",
    ),
    Mutant(
        "lower order numbers are refused",
        MACHINES + "unit/admission.rs",
        "        if given.number < number {\n",
        "        if given.number < number && given.digest == order.digest {\n",
    ),
    Mutant(
        "new is drawn once",
        MACHINES + "unit/steps.rs",
        "        if let Some(key) = held {\n            let transfers",
        "        if let Some(key) = held.filter(|_| taken.standing == Standing::Promoted) {\n            let transfers",
    ),
    Mutant(
        "only the order's generator draws",
        MACHINES + "unit/steps.rs",
        "        if taken.order.generator != self.id {\n",
        "        if taken.order.generator != self.id && taken.standing != Standing::Bound {\n",
    ),
    Mutant(
        "new is never overwritten by a copy",
        MACHINES + "unit/steps.rs",
        "        if let Some(held) = held.map(MasterKey::pattern) {\n"
        "            return match held == sealed.to {",
        "        if let Some(held) = held.map(MasterKey::pattern).filter(|held| *held == sealed.to) {\n"
        "            return match held == sealed.to {",
        # No run of the simulation has two keys of one order: the rules above see to that.
        needs=(TESTS,),
    ),
    Mutant(
        "clear only with the keystore flipped",
        MACHINES + "unit/steps.rs",
        "        let flipped = certificate::verify_flipped(certificate, &reference, to, &trust)?;\n",
        "        let _ = (certificate, &trust, reference, to);\n"
        "        let flipped = certificate::Flipped::default();\n",
    ),
    Mutant(
        "clear only when the flip was read back",
        MACHINES + "certificate.rs",
        "                && matches!(standing, KeystoreStanding::Flipped | KeystoreStanding::Dropped)\n",
        "                && (KeystoreStanding::Switched..=KeystoreStanding::Dropped).contains(&standing)\n",
    ),
    Mutant(
        "the keystore refuses an abort after its flip",
        MACHINES + "gate.rs",
        "                KeystoreStanding::Open | KeystoreStanding::Complete => {\n"
        "                    taken.standing = KeystoreStanding::Aborted;\n",
        "                KeystoreStanding::Open\n"
        "                | KeystoreStanding::Complete\n"
        "                | KeystoreStanding::Switched\n"
        "                | KeystoreStanding::Flipped => {\n"
        "                    taken.standing = KeystoreStanding::Aborted;\n",
    ),
    Mutant(
        "the keystore fences an old coordinator",
        MACHINES + "gate.rs",
        "    if epoch < row.epoch {\n",
        "    if epoch.manifest_serial < row.epoch.manifest_serial {\n",
    ),
    Mutant(
        "a unit fences an old coordinator",
        MACHINES + "unit/mod.rs",
        "            _ if header.epoch < self.state.epoch => {\n",
        "            _ if header.epoch.manifest_serial < self.state.epoch.manifest_serial => {\n",
    ),
    Mutant(
        "a flip wants younger versions in the new generation",
        MACHINES + "gate.rs",
        "        0 => Ok(()),\n        count => Err(format!(\"{count} versions created since opening",
        "        0.. if younger_lacking < u64::MAX => Ok(()),\n"
        "        count => Err(format!(\"{count} versions created since opening",
        # Each write supplies a blob for every generation, a rule that the simulation takes out itself.
        needs=(TESTS,),
    ),
    Mutant(
        "promote wants retiring Empty",
        MACHINES + "unit/steps.rs",
        "        if self.state.retiring.is_some() {\n",
        "        if self.state.retiring.is_some() && self.state.current.is_none() {\n",
        # An order is taken only where retiring is Empty, so no run of the simulation comes here.
        needs=(TESTS,),
    ),
    Mutant(
        "a transfer is for the unit that it names",
        MACHINES + "unit/transfers.rs",
        "        if transfer.recipient != self.id {\n",
        "        if transfer.recipient != self.id && transfer.recipient == transfer.source {\n",
        # What is sealed to another unit's key does not open here: the rule gives the better reason.
        needs=(TESTS,),
    ),
    Mutant(
        "a transfer is of this order",
        MACHINES + "unit/transfers.rs",
        "            && transfer.from == order.from;\n",
        "            && transfer.from == order.from\n            || transfer.recipient == self.id;\n",
        # The seal is bound to the order too.
        needs=(TESTS,),
    ),
    Mutant(
        "only recovery units export",
        MACHINES + "unit/transfers.rs",
        "            .filter(|member| member.role == Role::RecoveryUnit)\n",
        "            .filter(|member| member.role.is_crypto_unit())\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a transfer is signed by its source",
        MACHINES + "unit/transfers.rs",
        "        if !identity::verify(&source.identity, signed_as, &signed.bytes, &signed.signature) {\n",
        "        if source.role != Role::RecoveryUnit || signed_as.is_empty() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a certificate's report is by its own unit",
        MACHINES + "certificate.rs",
        "    match report.unit == opened.header.sender && report.instance == trust.instance() {\n",
        "    match report.instance == trust.instance() {\n",
        # Units and reencryptor are honest in the simulation; only messages are not.
        needs=(TESTS,),
    ),
    Mutant(
        "a keystore's report is by a reencryptor",
        MACHINES + "certificate.rs",
        "        if !is_own || opened.sender_role != Some(Role::Reencryptor) {\n",
        "        if !is_own {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a message for another is refused",
        MACHINES + "envelope.rs",
        "    if !is_mine {\n",
        "    if !is_mine && header.sender == reader.id {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only what proves itself may come from whom no manifest names",
        MACHINES + "envelope.rs",
        "        None if trust.newest().is_none() || may_be_strangers(header.kind) => {\n",
        "        None => {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "what was reported before the manifest is forgotten",
        MACHINES + "conductor/documents.rs",
        "        self.heard.keep_reports_of(&named);\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "everybody speaks for itself only",
        MACHINES + "conductor/reading.rs",
        "    if sender == subject { Ok(()) } else { Err(\"speaks-for-another\") }\n",
        "    if sender != subject { Ok(()) } else { Ok(()) }\n",
        needs=(TESTS,),
    ),
    Mutant(
        "no manifest is taken while a rotation runs",
        MACHINES + "conductor/asking.rs",
        "                if self.is_rotating()\n"
        "                    && !self.is_recovering()\n",
        "                if self.survey.is_some()\n"
        "                    && !self.is_recovering()\n",
        needs=(TESTS,),
    ),
    Mutant(
        "precheck wants one pattern in all current registers",
        MACHINES + "rotation/precheck.rs",
        "    check_current(&holders(manifest, surveyed), manifest, surveyed, &mut findings);\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "a certificate is of this very order",
        MACHINES + "certificate.rs",
        "    let rotation = report.in_order(order)?;\n",
        "    let _ = order;\n    let rotation = report.rotation.as_ref()?;\n",
    ),
    Mutant(
        "a certificate has one report of a unit",
        MACHINES + "certificate.rs",
        "        if seen.insert(unit, report).is_some() {\n"
        "            return Err(CertificateRefusal::Twice(unit.to_string()));\n"
        "        }\n",
        "        seen.insert(unit, report);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a certificate's report is not of before the order's manifest",
        MACHINES + "certificate.rs",
        "        if !holds || report.manifest_serial < order.number.manifest_serial {\n",
        "        if !holds {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the report of a unit that was set back counts in no certificate",
        MACHINES + "certificate.rs",
        "        if is_other && (is_lower || report.set_back_from.is_some()) {\n",
        "        if is_other && is_lower && report.state_counter == u64::MAX {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the sender's key comes from the manifest",
        MACHINES + "envelope.rs",
        "        Some(member) => (member.identity, Some(member.role)),\n"
        "        None if trust.newest().is_none() || may_be_strangers(header.kind) => {\n"
        "            (header.sender_key, None)\n"
        "        }\n"
        "        None => return Err(EnvelopeRefusal::UnknownSender(sender)),\n"
        "    };\n"
        "    if identity::process_id(&key) != sender {\n",
        "        Some(member) => (header.sender_key, Some(member.role)),\n"
        "        None if trust.newest().is_none() || may_be_strangers(header.kind) => {\n"
        "            (header.sender_key, None)\n"
        "        }\n"
        "        None => return Err(EnvelopeRefusal::UnknownSender(sender)),\n"
        "    };\n"
        "    if role.is_none() && identity::process_id(&key) != sender {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an epoch is one more than the highest seen anywhere",
        MACHINES + "rotation/numbers.rs",
        "    let seen = of_units.chain(of_rows).chain(record);\n",
        "    let seen = of_units.chain(of_rows).filter(|_| false).chain(record);\n",
        # A coordinator that is fenced takes the epoch that it was told.
        needs=(TESTS,),
    ),
    Mutant(
        "expiry is not looked at in promote",
        MACHINES + "unit/steps.rs",
        "        let reference = taken.reference;\n"
        "        let is_rotation = taken.order.purpose == Purpose::Rotate;\n",
        "        if taken.order.expires_at <= now {\n"
        "            return Err(UnitRefusal::NotBound);\n"
        "        }\n"
        "        let reference = taken.reference;\n"
        "        let is_rotation = taken.order.purpose == Purpose::Rotate;\n",
        # No order of the simulation expires in its rotation.
        needs=(TESTS,),
    ),
    Mutant(
        "an offer is made once",
        MACHINES + "unit/mod.rs",
        "            Admission::Known => Ok(Done::BEFORE),\n"
        "            Admission::New { order, reference } => {\n",
        "            Admission::Known => {\n"
        "                let order = self.state.rotation.as_ref().map(|taken| taken.order.clone());\n"
        "                let made = order.map(|order| self.make_offer(rng, &order));\n"
        "                if let Some(taken) = &mut self.state.rotation\n"
        "                    && taken.transport.is_some()\n"
        "                {\n"
        "                    taken.transport = made;\n"
        "                }\n"
        "                Ok(Done::CHANGED)\n"
        "            }\n"
        "            Admission::New { order, reference } => {\n",
    ),
    Mutant(
        "units keep the hold after commit",
        MACHINES + "unit/steps.rs",
        "        self.hold_after_commit_is_over(now)?;\n",
        "        let _ = self.hold_after_commit_is_over(now);\n",
    ),
    Mutant(
        "units keep the hold before clear",
        MACHINES + "unit/hold.rs",
        "            None if seen.clear_not_before > now => {\n",
        "            None if seen.clear_not_before > now && hold_ms == u64::MAX => {\n",
        # The coordinator of the simulation keeps it too.
        needs=(TESTS,),
    ),
    Mutant(
        "after a hold a unit wants flipped anew",
        MACHINES + "unit/hold.rs",
        "            Some(end) if flipped.hold_ends.contains(&(who, end)) => Ok(None),\n"
        "            Some(_) => Ok(Some(Done::BEFORE)),\n",
        "            Some(_) => {\n"
        "                let _ = (who, &flipped.hold_ends);\n"
        "                Ok(None)\n"
        "            }\n",
    ),
    Mutant(
        "the hold begins anew with another generation",
        MACHINES + "unit/hold.rs",
        "        let Some(seen) = seen.filter(|seen| seen.generations == flipped.generations) else {\n",
        "        let Some(seen) = seen else {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the new digest of a page is compared",
        MACHINES + "rewrap/pages.rs",
        "    match new_digest.finish() == receipt.new_digest {\n",
        "    match new_digest.finish() == receipt.new_digest || receipt.count > 0 {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the old digest of a page is compared",
        MACHINES + "rewrap/pages.rs",
        "    if old_digest.finish() != receipt.old_digest {\n",
        "    if old_digest.finish() != receipt.old_digest && receipt.count == 0 {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "while bound only an amendment is taken",
        MACHINES + "amendment.rs",
        "            judge(old, new)?;\n",
        "            let _ = judge(old, new);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an amendment adds no crypto unit",
        MACHINES + "amendment.rs",
        "    match new.crypto_units().all(was_there) {\n",
        "    match new.crypto_units().any(was_there) {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "who removes a unit shows a holder of the keys still needed",
        MACHINES + "amendment.rs",
        "    is_held(trust, &next, binding)?;\n",
        "    let _ = is_held(trust, &next, binding);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a mixed end goes neither forward nor back",
        MACHINES + "rotation/mixed.rs",
        "    if !is_mixed {\n",
        "    if !is_mixed || sides.is_mixed() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that joins opens nothing before it has cleared",
        MACHINES + "unit/keyring.rs",
        "        } else if self.is_joining() {\n",
        "        } else if self.is_joining() && state.current.is_none() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that was set back serves nothing",
        MACHINES + "unit/keyring.rs",
        "        } else if state.reminder.is_some() {\n",
        "        } else if state.reminder.is_some() && state.current.is_none() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a page is of the order that the unit has taken",
        MACHINES + "unit/page.rs",
        "    if leave.order.digest != page.order_digest || leave.order.number != page.number {\n",
        "    if leave.order.digest != page.order_digest && leave.order.number != page.number {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "nobody can guess how a hold ends",
        MACHINES + "unit/hold.rs",
        "                seen.end_nonce = Some(rng.next_u64());\n",
        "                seen.end_nonce = Some(rng.next_u64().min(self.state.counter + 1));\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a generation that is open for another pattern goes first",
        MACHINES + "rotation/steps.rs",
        "            is_open && found.to != to && (",
        "            is_open && found.to != found.to && (",
        needs=(TESTS,),
    ),
    Mutant(
        "a keystore that is open in an ended order is closed",
        MACHINES + "rotation/recovery.rs",
        "                Standing::Aborted => is_left_open || self.is_closed_by(report),\n",
        "                Standing::Aborted => self.is_closed_by(report),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a rotation that a unit has left behind is closed",
        MACHINES + "conductor/taking_up.rs",
        "            report.last_number() > found.reference().number\n",
        "            report.last_number() < found.reference().number\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a keystore that lacks a manifest is ended under the epoch that it knows",
        MACHINES + "conductor/sealing.rs",
        "            KeystoreCommand::Abort { .. } => self.epoch_of_abort(to),\n",
        "            KeystoreCommand::Abort { .. } => self.epoch(),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a flipped keystore takes what amends nothing, and no bad amendment",
        MACHINES + "rewrap/mod.rs",
        "    let is_over = found.standing == KeystoreStanding::Flipped\n        && !",
        "    let is_over = found.standing == KeystoreStanding::Flipped\n        || !",
        needs=(TESTS,),
    ),
    Mutant(
        "a plan that has moved is refused",
        MACHINES + "conductor/plan.rs",
        "    if now == Some(wanted) {\n",
        "    if now.is_some() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a standing order carries no key in quarantine",
        MACHINES + "leave.rs",
        "    } else if !order.quarantined.is_empty() {\n",
        "    } else if order.quarantined.len() > 1000 {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only an Empty unit recovers",
        MACHINES + "unit/recover.rs",
        "        Some(_) if unit == recovery.target => Err(UnitRefusal::NotEmpty(\"current\")),\n",
        "        Some(_) if unit == recovery.target => Ok(()),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that forgot an order takes none to recover from before it",
        MACHINES + "unit/recover.rs",
        "    follows_the_forgotten(state, reference)?;\n",
        "    let _ = follows_the_forgotten(state, reference);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "who is to recover is not as far again before it holds the key",
        MACHINES + "unit/set_back.rs",
        "Standing::Bound => !is_target && follows(&then.registers, &taken.order),",
        "Standing::Bound => follows(&then.registers, &taken.order) || is_target,",
        needs=(TESTS,),
    ),
    Mutant(
        "a sealed key is bound to what it is for",
        MACHINES + "unit/transfers.rs",
        "        Purpose::Recover { .. } => TransferPurpose::Recover,\n",
        "        Purpose::Recover { .. } => TransferPurpose::Rotate,\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the key that is recovered is the one that the order names",
        MACHINES + "unit/recover.rs",
        "        if Some(sealed.to) != taken.order.from {\n",
        "        if Some(sealed.to) != taken.order.from && sealed.enc.is_empty() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the source is let go by the target's word only",
        MACHINES + "unit/recover.rs",
        "        certificate::verify_recovered(certificate, reference, recovery.target, pattern, trust)?;\n",
        "        let _ = (certificate, reference, pattern, trust);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a generation opens only where every unit has committed",
        MACHINES + "rewrap/mod.rs",
        "    certificate::verify_opening(certificate, &reference, to, trust)?;\n",
        "    let _ = (certificate, to);\n",
    ),
    Mutant(
        "an opening needs a unit that can still re-wrap",
        MACHINES + "certificate.rs",
        "    match seen.values().any(can_rewrap) {\n",
        "    match seen.values().any(can_rewrap) || !seen.is_empty() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an order that no unit has taken ends nothing in a keystore",
        MACHINES + "gate.rs",
        "    if has_flipped || !request.is_taken {\n",
        "    if has_flipped || !request.is_taken && row.open.is_none() {\n",
    ),
    Mutant(
        "an abort waits for nobody who has taken another order of the same number",
        "shared/protocol/src/report.rs",
        "            .is_some_and(|taken| taken.order != *order && taken.order.number >= order.number)\n",
        "            .is_some_and(|taken| taken.order != *order && taken.order.number > order.number)\n",
    ),
    Mutant(
        "a record rebuilt from some reports is aborted only after a round of inspect",
        MACHINES + "conductor/taking_up.rs",
        "            Verdict::Aborted { because } if !is_sure => Some(because.clone()),\n",
        "            Verdict::Aborted { because } if !is_sure && because.is_empty() => Some(because.clone()),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a rotation is not done while a unit knows itself to be set back",
        MACHINES + "rotation/steps.rs",
        "short.contains(unit) || view.is_set_back(*unit);\n",
        "short.contains(unit) || view.is_set_back(*unit) && short.contains(unit);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only a key that the order names goes into quarantine",
        MACHINES + "rewrap/pages.rs",
        "        quarantined.contains(&row.key)\n            && page",
        "        quarantined.len() < usize::MAX\n            && page",
        needs=(SIMULATION, TESTS),
    ),
    Mutant(
        "an abort does not wait for ever for a unit that is silent",
        MACHINES + "rotation/ending.rs",
        "        match wanted.iter().all(|asked| self.given_up.contains(&asked.to())) {\n",
        "        match wanted.is_empty() {\n",
        # One seed in some 6,000 needs it.
        needs=(TESTS,),
    ),
    Mutant(
        "an abort waits for a unit that may come back",
        MACHINES + "rotation/asking.rs",
        "        since.is_some_and(|since| self.now.since(*since) >= self.limits.silence_abort_ms)\n",
        "        since.is_some()\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that is behind on manifests is let go of under the epoch that it knows",
        MACHINES + "conductor/sealing.rs",
        "            Command::Abort { .. } => self.epoch_of_abort(to),\n",
        "            Command::Abort { .. } => self.epoch(),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "what some have aborted is not rebuilt as decided",
        MACHINES + "rotation/recovery.rs",
        "        let is_promoted = self.has_promoted(order) && !self.has_aborted(order);\n",
        "        let is_promoted = self.has_promoted(order);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an abort that is refused is not asked for at once again",
        MACHINES + "rotation/aborting.rs",
        "        self.unanswered.clear();\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit whose silence ended a rotation is told so",
        MACHINES + "rotation/amended.rs",
        "        self.unanswered.clear();\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "an abort waits for no keystore that has come to the well end of the order",
        MACHINES + "rotation/ending.rs",
        "        is_done || view.has_spent(*id)",
        "        (is_done && view.has_spent(*id)) || view.has_spent(*id)",
        needs=(TESTS,),
    ),
    Mutant(
        "who has not promoted in a mixed end is asked again how it stands",
        MACHINES + "rotation/mixed.rs",
        "!sides.promoted.contains(unit);\n",
        "!sides.promoted.contains(unit) && !view.units.contains_key(unit);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that was set back takes nothing from before what it had taken",
        MACHINES + "unit/admission.rs",
        "    own.into_iter().chain(forgotten.map(|found| found.order))\n",
        "    own.into_iter().chain(forgotten.filter(|_| false).map(|found| found.order))\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that has saved as often again is noticed",
        MACHINES + "conductor/set_back.rs",
        "                || (report.state_counter == sent.highest && is_other)\n",
        "                || (report.state_counter == sent.highest && is_other && sent.highest == 0)\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that has saved as often again takes the reminder",
        MACHINES + "unit/set_back.rs",
        "(report.state_counter <= counter && !is_other)",
        "(report.state_counter <= counter && (!is_other || counter > 0))",
        needs=(TESTS,),
    ),
    Mutant(
        "a generator that does not know that it was set back is not asked to draw",
        MACHINES + "rotation/steps.rs",
        "    if view.unaware.contains(&generator) {\n",
        "    if view.unaware.contains(&generator) && view.units.is_empty() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "the record goes with the pattern that units show",
        MACHINES + "rotation/mod.rs",
        "if shown.is_some() && shown != self.record.to {",
        "if shown.is_some() && self.record.to.is_none() {",
        needs=(TESTS,),
    ),
    Mutant(
        "an abort does not wait for who stays promoted alone",
        MACHINES + "rotation/ending.rs",
        "                    Standing::Promoted => are_gone_on,\n",
        "                    Standing::Promoted => are_gone_on && view.units.is_empty(),\n",
        needs=(TESTS,),
    ),
    Mutant(
        "who has gone on after the flip had cleared",
        MACHINES + "rotation/reports.rs",
        "report.has_spent(self.reference) && self.is_flipped();",
        "report.has_spent(self.reference) && self.is_flipped() && self.units.is_empty();",
        needs=(TESTS,),
    ),
    Mutant(
        "who has gone on before the flip never promotes",
        MACHINES + "rotation/mixed.rs",
        "report.has_spent(self.reference) && self.is_before_flip()",
        "report.has_spent(self.reference) && self.is_before_flip() && self.units.is_empty()",
        needs=(TESTS,),
    ),
    Mutant(
        "what is to be cleared is taken up whoever has gone on",
        MACHINES + "rotation/recovery.rs",
        "is_highest || self.is_left(&found.order) || self.is_underway",
        "is_highest || self.is_underway",
        needs=(TESTS,),
    ),
    Mutant(
        "a decided rotation that one has left before the flip is gone on with",
        MACHINES + "conductor/taking_up.rs",
        "                && !self.reports().goes_on(found.reference())\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "an order that a unit had aborted is aborted in it again once it is reminded",
        MACHINES + "unit/set_back.rs",
        "        self.remember_aborted();\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "who has aborted what the keystore has flipped is the one that was set back",
        MACHINES + "rotation/recovery.rs",
        "        has_flipped || (is_promoted && !self.is_past(&order))\n",
        "        (has_flipped && !self.has_aborted(order)) || (is_promoted && !self.is_past(&order))\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an old record is not gone on with once the keystore is past it",
        MACHINES + "rotation/recovery.rs",
        "            || (!self.is_past(order) && self.open_order()",
        "            || (self.open_order()",
        needs=(TESTS,),
    ),
    Mutant(
        "an older record that a unit has promoted is closed as done",
        MACHINES + "rotation/recovery.rs",
        "            let is_forward = has_promoted || record.to",
        "            let is_forward = (has_promoted && record.to.is_some()) || record.to",
        needs=(TESTS,),
    ),
    Mutant(
        "an abort that comes too late decides",
        MACHINES + "rotation/aborting.rs",
        "            if matches!(refused, Refused::Decided(_)) && !self.sides().is_mixed() {\n",
        "            if matches!(refused, Refused::Decided(_)) && self.units.is_empty() {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an abort does not decide a mixed end",
        MACHINES + "rotation/aborting.rs",
        "            if matches!(refused, Refused::Decided(_)) && !self.sides().is_mixed() {\n",
        "            if matches!(refused, Refused::Decided(_)) {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a keystore is asked whether it has flipped before an abort is judged",
        MACHINES + "rotation/aborting.rs",
        "        if self.recovery().is_some() {\n            return Vec::new();\n",
        "        if self.recovery().is_some() || since > UnixMillis(0) {\n            return Vec::new();\n",
        needs=(TESTS,),
    ),
    Mutant(
        "nobody asks for an abort of a mixed end",
        MACHINES + "rotation/aborting.rs",
        "            && (self.recovery().is_some() || !self.sides().is_mixed())\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "an amendment does not turn what the keystore has flipped",
        MACHINES + "rotation/amended.rs",
        "            (Verdict::Aborted { .. }, _) => self.may_have_flipped(),\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "nobody is removed who holds what the keystore has flipped to",
        MACHINES + "rotation/amended.rs",
        "        binding.is_promoted |= self.may_have_flipped();\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "who does not know that it was set back is reminded first",
        MACHINES + "conductor/set_back.rs",
        "saves && self.unaware.contains(&unit));",
        "saves && self.unaware.is_empty() && !self.unaware.is_empty());",
        needs=(TESTS,),
    ),
    Mutant(
        "a record without an end is found beside a newer one",
        MACHINES + "conductor/mod.rs",
        "            open = open.or(Some(record).filter(|record| record.finished_at.is_none()));\n",
        "            open = Some(record).filter(|record| record.finished_at.is_none());\n",
        needs=(TESTS,),
    ),
    Mutant(
        "whoever waits for a survey is answered though another one comes between",
        MACHINES + "conductor/mod.rs",
        "            self.waiting.push_front(ask);\n",
        "            drop(ask);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "nobody who holds what the keystore has flipped to is named to go",
        MACHINES + "explain/mixed_end.rs",
        "    let flipped = has_flipped(known, manifest, rotation);\n",
        "    let flipped = has_flipped(known, manifest, rotation).filter(|_| false).or(Some(false));\n",
        needs=(TESTS,),
    ),
    Mutant(
        "what the keystore is past is not rebuilt as decided",
        MACHINES + "rotation/recovery.rs",
        "        has_flipped || (is_promoted && !self.is_past(&order))\n",
        "        has_flipped || is_promoted\n",
        needs=(TESTS,),
    ),
    Mutant(
        "nothing is aborted before every keystore has said how it stands",
        MACHINES + "rotation/aborting.rs",
        "            _ => !self.manifest.keystores.iter().all(|id| self.surveyed.contains(id)),\n",
        "            _ => false,\n",
        needs=(TESTS,),
    ),
    Mutant(
        "what a keystore has flipped is decided whoever has aborted it",
        MACHINES + "rotation/mod.rs",
        "        self.judge_flip(effects);\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "what a decided keystore said before its flip says nothing any more",
        MACHINES + "rotation/aborting.rs",
        "                found != Some(KeystoreStanding::Aborted) && !view.has_spent(id)\n",
        "                found.is_none()\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only what answers the survey says how somebody stands",
        MACHINES + "conductor/taking_up.rs",
        "        newest.crypto_units().all(|unit| answered.contains(&unit.id))\n",
        "        newest.crypto_units().all(|unit| self.heard.units.contains_key(&unit.id))\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a unit that was set back is brought up before the keystore is asked",
        MACHINES + "rotation/desired.rs",
        "        steps::bringing_up,\n",
        "        steps::committing,\n",
        needs=(TESTS,),
    ),
    Mutant(
        "an earlier flip that nobody read back is ended before the next opening",
        MACHINES + "rewrap/mod.rs",
        "        is_from && found.standing == KeystoreStanding::Switched && found.number < order.number\n",
        "        is_from && found.standing == KeystoreStanding::Switched && found.number > order.number\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a keystore that is left open in an earlier order is closed by the end of a later one",
        MACHINES + "rotation/recovery.rs",
        "                Standing::Aborted => is_left_open || self.is_closed_by(report),\n",
        "                Standing::Aborted => is_left_open,\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a copy of another master key's time is not closed",
        MACHINES + "rotation/recovery.rs",
        "        && units.all(|unit| unit.registers.current.is_none_or(|current| current == active.pattern))\n",
        "        && { let _ = active; units.next().is_some() }\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only what answers this coordinator says how a keystore stands",
        MACHINES + "conductor/reading.rs",
        "                    && self.has_asked(sender, report.answering.as_ref())\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "what cannot be sealed to everybody is not drawn",
        MACHINES + "unit/steps.rs",
        '        let transfers = Some(self.seal_to_all(rng, taken, &key, &recipients)?);\n        self.state.new = Some(NewKey { key, is_committed: false });\n',
        '        let sealed = self.seal_to_all(rng, taken, &key, &recipients);\n        self.state.new = Some(NewKey { key, is_committed: false });\n        let transfers = Some(sealed?);\n',
        needs=(TESTS,),
    ),
    Mutant(
        "a clear needs a keystore that has flipped",
        MACHINES + "certificate.rs",
        '    if manifest.keystores.is_empty() {\n',
        '    if false {\n',
        needs=(TESTS,),
    ),
    Mutant(
        "no manifest is without a keystore",
        MACHINES + "trust.rs",
        '    if manifest.keystores.is_empty() {\n',
        '    if false {\n',
        needs=(TESTS,),
    ),
    Mutant(
        "pinned administrators have signed",
        MACHINES + "trust.rs",
        '            is_listed && signed',
        '            is_listed || signed',
        needs=(TESTS,),
    ),
    Mutant(
        "another role is a removal",
        MACHINES + "trust.rs",
        'is_some_and(|new| new.role == old.role)',
        'is_some()',
        needs=(TESTS,),
    ),
    Mutant(
        "who has another role serves nothing",
        MACHINES + "unit/mod.rs",
        '!self.state.trust.names(self.id, self.config.role)',
        'self.state.trust.member(self.id).is_none()',
        needs=(TESTS,),
    ),
    Mutant(
        "a rotation's id is used once by a unit",
        MACHINES + "unit/admission.rs",
        'it.rotation == reference.rotation && *it != reference',
        'false',
        needs=(TESTS,),
    ),
    Mutant(
        "a rotation's id is used once by a keystore",
        MACHINES + "gate.rs",
        'taken.number > order.number || is_reused',
        'taken.number > order.number',
        needs=(TESTS,),
    ),
    Mutant(
        "a stranger's command is heard and refused",
        MACHINES + "envelope.rs",
        'Kind::Announcement | Kind::Command | Kind::KeystoreCommand | Kind::ManifestNotice',
        'Kind::Announcement',
        needs=(TESTS,),
    ),
    Mutant(
        "who obeys another coordinator ends no rotation",
        MACHINES + "rotation/hearing.rs",
        '            "not-a-coordinator" => {}\n',
        '',
        needs=(TESTS,),
    ),
    Mutant(
        "who is named by a manifest that waits may end what it waits for, and no more",
        MACHINES + "unit/mod.rs",
        "(is_abort && self.state.trust.may_end(by))",
        "self.state.trust.may_end(by)",
        needs=(TESTS,),
    ),
    Mutant(
        "only a manifest that holds waits",
        MACHINES + "trust.rs",
        "        if next.take(chain, None, &[]) == Ok(true) && next.serial() >= newest {\n",
        "        next.newest = chain.last().and_then(|signed| signed.unverified().ok());\n        if next.serial() >= newest {\n",
        needs=(TESTS,),
    ),
    Mutant(
        "only a coordinator in force raises a unit's epoch",
        MACHINES + "unit/mod.rs",
        "role == Some(Role::Coordinator) && !proves_itself(command);",
        "!proves_itself(command);",
        needs=(TESTS,),
    ),
    Mutant(
        "who has promoted and says that it is set back is asked again before the flip",
        MACHINES + "rotation/steps.rs",
        "        Reached::Promoted if is_before_flip => Some(view.inspect(unit)),\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "a later order from a master key that it had left makes no unit as far again",
        MACHINES + "unit/set_back.rs",
        "Standing::Bound => !is_target && follows(&then.registers, &taken.order),",
        "Standing::Bound => !is_target,",
        needs=(TESTS,),
    ),
    Mutant(
        "who is bound to an earlier order is let go of it whatever epoch it obeys",
        MACHINES + "rotation/ending.rs",
        "view.units.get(&unit).and_then(|held| held.report.rotation.as_ref())",
        "view.heard(unit).and_then(|report| report.rotation.as_ref())",
        needs=(TESTS,),
    ),
    Mutant(
        "who was removed is let go of what it is bound to, and of nothing else",
        MACHINES + "unit/mod.rs",
        "_ if self.is_removed() && !self.is_let_go(command) =>",
        "_ if self.is_removed() =>",
        needs=(TESTS,),
    ),
    Mutant(
        "who has gone on with the old key vouches for an end only where nobody that stays has promoted",
        MACHINES + "amendment.rs",
        "current == binding.from && !binding.is_promoted;",
        "current == binding.from;",
        needs=(TESTS,),
    ),
    Mutant(
        "of amendments that come at once the last one is of this rotation",
        MACHINES + "amendment.rs",
        "    names(&next, binding.order.rotation)?;\n",
        "    let _ = names(&next, binding.order.rotation);\n",
        needs=(TESTS,),
    ),
    Mutant(
        "a certificate's last amendment is of its rotation",
        MACHINES + "amendment.rs",
        "    since.last().is_none_or(|last| amends(last, rotation)) && are_amendments(since)\n",
        "    are_amendments(since)\n",
        needs=(TESTS,),
    ),
    Mutant(
        "what a unit said while it was set back is over once its newest volume speaks",
        MACHINES + "rotation/set_back.rs",
        "        (None, Some(lost)) => moment(report, report.state_counter) < moment(other, lost),\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "what a unit said while it was set back is older than its newest volume, whenever it comes",
        MACHINES + "rotation/set_back.rs",
        "        (Some(lost), None) => moment(report, lost) < moment(other, other.state_counter),\n",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "a manifest waits for whoever has answered nothing since the start",
        MACHINES + "conductor/amended.rs",
        "self.heard.units.get(&unit).filter(|_| self.heard.answered.contains(&unit));",
        "self.heard.units.get(&unit);",
        needs=(TESTS,),
    ),
    Mutant(
        "what several have promoted comes before what one is bound to since",
        MACHINES + "rotation/recovery.rs",
        "(self.is_underway(&found.order), found.order.number)",
        "found.order.number",
        needs=(TESTS,),
    ),
    Mutant(
        "one alone that has promoted says nothing of where a rotation stands",
        MACHINES + "rotation/recovery.rs",
        "self.promoted(order) > 1",
        "self.promoted(order) > 0",
        needs=(TESTS,),
    ),
    Mutant(
        "who knows itself to be set back keeps no decided rotation going",
        MACHINES + "rotation/recovery.rs",
        "            report.set_back_from.is_none()\n                && found",
        "            found",
        needs=(TESTS,),
    ),
    Mutant(
        "who is bound to another order of the number is let go of it",
        MACHINES + "rotation/ending.rs",
        "found.order.number <= view.reference.number",
        "found.order.number < view.reference.number",
        needs=(TESTS,),
    ),
    Mutant(
        "a start closes nothing that is over another master key than its units'",
        MACHINES + "rotation/precheck/keystores.rs",
        " && held.all(|current| current == active.pattern)",
        "",
        needs=(TESTS,),
    ),
    Mutant(
        "a newest volume is as far as an older one that has ended an order from its master key",
        MACHINES + "unit/set_back.rs",
        " || (from.is_some() && now.current == from)",
        " || (from.is_none() && now.current.is_none())",
        needs=(TESTS,),
    ),
]
