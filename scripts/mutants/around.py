"""Rules around the machines: formats, ciphers, stores, the broker's client, the shells of processes.

The simulation has those of the stores and of the driver as toggles of its own (`Rules`, taken out by its
test `each_rule_*`), as it has stores and a driver of its own.
"""

from . import Mutant, of

KEYSTORE = "shared/keystore/src/"
BUS = "shared/bus/src/"

MUTANTS = [
    Mutant(
        "a blob is bound to whether its key may leave",
        "shared/crypto/src/blob.rs",
        "            &[self.attributes],\n",
        "            &[self.attributes & !0x20],\n",
        needs=(of("crypto"),),
    ),
    Mutant(
        "trailing bytes are refused",
        "shared/protocol/src/codec.rs",
        "    match rest.len() - used {\n",
        "    match (rest.len() - used) / 1_000_000 {\n",
        needs=(of("protocol"),),
    ),
    Mutant(
        "a confirm is waited for and judged",
        BUS + "amqp/publish.rs",
        '            Err(Failed::Again(PublishError::Refused("negative acknowledgement".to_owned())))\n',
        '            Ok(())\n',
        needs=(of("bus"),),
    ),
    Mutant(
        "a returned message is not delivered",
        BUS + "amqp/publish.rs",
        '            Err(Failed::Finally(PublishError::Unroutable(message.routing_key.clone())))\n',
        '            Ok(())\n',
        needs=(of("bus"),),
    ),
    Mutant(
        "what has changed is saved before anything is sent",
        BUS + "driver.rs",
        "        handler.save().await?;\n"
        "        metric::count(metric::STATE_SAVES, &[]);\n"
        "        fail_points::reach(fail_points::Place::Saved);\n"
        "    }\n",
        "    }\n",
        needs=(of("bus"),),
    ),
    Mutant(
        "a message is acknowledged after the save",
        BUS + "driver.rs",
        '    conclude(bus, handler, outcome, deferred).await?;\n    fail_points::reach(fail_points::Place::Published);\n    match (delivery, dead) {\n        (Some(delivery), Some(reason)) => delivery.bury(bus, reason).await,\n        (Some(delivery), None) => delivery.ack().await,\n        (None, _) => {}\n    }\n',
        '    match (delivery, dead) {\n        (Some(delivery), Some(reason)) => delivery.bury(bus, reason).await,\n        (Some(delivery), None) => delivery.ack().await,\n        (None, _) => {}\n    }\n    conclude(bus, handler, outcome, deferred).await?;\n',
        needs=(of("bus"),),
    ),
    Mutant(
        "every blob carries its generation's pattern",
        KEYSTORE + "postgres/generations.rs",
        "            blob BYTEA NOT NULL CHECK (substring(blob FROM 1 FOR 34) = decode('0101{}', 'hex'))\n"
        "        );\n",
        "            blob BYTEA NOT NULL CHECK (substring(blob FROM 1 FOR 34) <> decode('02{}', 'hex'))\n"
        "        );\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a write waits for the gate",
        KEYSTORE + "postgres/mod.rs",
        "        Hold::Share => \"SELECT pg_advisory_xact_lock_shared($1)\",\n",
        "        Hold::Share => \"SELECT pg_advisory_xact_lock_shared($1 + 1)\",\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a write supplies a blob for every generation",
        KEYSTORE + "postgres/write.rs",
        "            gate::may_write(&row, &supplied)?;\n",
        "            let _ = gate::may_write(&row, &supplied);\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a chunk is written once",
        KEYSTORE + "postgres/chunks.rs",
        "         quarantined = excluded.quarantined WHERE chunks.done IS NULL\";\n",
        "         quarantined = excluded.quarantined\";\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a chunk that ends behind its last version is written by one at a time",
        KEYSTORE + "postgres/chunks.rs",
        "    if chunk.rows.iter().last().map(|row| row.version) == Some(chunk.range.upto) {\n",
        "    if chunk.range.upto != ChunkRange::WHOLE.after {\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "chunks are written only while the generation is being built",
        KEYSTORE + "postgres/chunks.rs",
        "        gate::may_fill(&row?, generation.id)?;\n",
        "        row.map(|_| ())?;\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "the record of a chunk is written before its blobs, and says whether they are",
        KEYSTORE + "postgres/chunks.rs",
        "        let (row, claimed) =\n"
        "            join(held(&tx, instance, Hold::Share), claim(&tx, instance, number, &chunks)).await;\n"
        "        gate::may_fill(&row?, generation.id)?;\n"
        "        let claimed = claimed?;\n"
        "        if claimed.iter().any(|chunk| !chunk.rows.is_empty()) {\n"
        "            let rows = claimed.iter().map(|chunk| &chunk.rows);\n"
        "            pages::copy_in(&tx, instance, number, rows).await?;\n"
        "        }\n",
        "        let row = held(&tx, instance, Hold::Share).await;\n"
        "        gate::may_fill(&row?, generation.id)?;\n"
        "        if chunks.iter().any(|chunk| !chunk.rows.is_empty()) {\n"
        "            let rows = chunks.iter().map(|chunk| &chunk.rows);\n"
        "            pages::copy_in(&tx, instance, number, rows).await?;\n"
        "        }\n"
        "        let claimed = claim(&tx, instance, number, &chunks).await?;\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a write holds the keystore row's lock",
        KEYSTORE + "postgres/mod.rs",
        '"SELECT row FROM keystores WHERE instance = $1 FOR SHARE"',
        '"SELECT row FROM keystores WHERE instance = $1"',
        needs=(of("keystore"),),
    ),
    Mutant(
        "tombstones are applied when flipped is saved",
        KEYSTORE + "postgres/generations.rs",
        "        if gate::mark_flipped(&mut row, &order, key_root)? == Change::Now {\n",
        "        if gate::mark_flipped(&mut row, &order, key_root)? == Change::Now && row.version_count == u64::MAX {\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a purge leaves the set alone while a generation is built",
        KEYSTORE + "postgres/write.rs",
        "        if !gate::purge_is_tombstone(&row) {\n",
        "        if !gate::purge_is_tombstone(&row) || row.version_count < u64::MAX {\n",
        needs=(of("keystore"),),
    ),
    Mutant(
        "a request that comes twice starts one rotation",
        "services/coordinator/src/handler/messages.rs",
        "            if let Some(before) = self.answered(name).await {\n",
        "            if let Some(before) = self.answered(name).await.filter(|_| name.is_empty()) {\n",
        needs=(of("coordinator"),),
    ),
    Mutant(
        "a request stays on the queue until it is answered",
        "services/coordinator/src/handler/messages.rs",
        '        outcome.defer = Some(ask);\n',
        '        let _ = ask;\n',
        needs=(of("coordinator"),),
    ),
    Mutant(
        "what is answered later is not acknowledged now",
        BUS + "driver.rs",
        '            deferred.insert(number, delivery);\n            None\n',
        '            let _ = (number, &mut *deferred);\n            Some(delivery)\n',
        needs=(of("bus"),),
    ),
]
