//! What a process of the cluster may do at the broker, and how it is reached.

use chaos::Stack;
use chaos::compose::text_of;
use serde_json::Value;

/// Reads and publishes as each user of the broker, by RabbitMQ's own interface, at each other's
/// queues. The administrator's rights are what makes the broker answer the question at all.
pub async fn a_process_reaches_only_what_its_role_speaks_to(stack: &Stack) {
    let mut queues = Vec::new();
    for service in chaos::compose::SERVICES {
        let id = stack.secret(service, "process-id").await.unwrap();
        queues.push((service, id));
    }
    let mut refused = 0;
    for (user, own) in &queues {
        let rights = permissions(stack, user).await;
        assert_eq!(rights["configure"], "^$", "{user} may make or remove queues");
        for (other, id) in &queues {
            let may_read = matches(&rights["read"], id);
            assert_eq!(may_read, id == own, "{user} reads the queue of {other}: {rights}");
        }
        refused += attempts(stack, user, &queues).await;
    }
    println!("broker: {refused} attempts at others' queues were refused");
    assert!(refused >= 3 * queues.len(), "{refused}");
}

async fn permissions(stack: &Stack, user: &str) -> Value {
    let ask = ["rabbitmqctl", "-q", "list_user_permissions", user, "--formatter", "json"];
    let output = stack.exec("rabbitmq", &ask).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(text.trim())
        .unwrap_or_else(|error| panic!("{error}: {}", text_of(&output)));
    found[0].clone()
}

/// Whether a pattern of rights names a queue with this id. They are lists of whole names.
fn matches(pattern: &Value, id: &str) -> bool {
    pattern.as_str().unwrap().contains(id)
}

/// What the broker really does when the user tries.
async fn attempts(stack: &Stack, user: &str, queues: &[(&str, String)]) -> usize {
    let url = stack.secret(user, "amqp-url").await.unwrap();
    let password = url.split(['/', '@']).nth(2).and_then(|part| part.split(':').nth(1)).unwrap();
    let grant = ["rabbitmqctl", "-q", "set_user_tags", user, "management"];
    assert!(stack.exec("rabbitmq", &grant).await.unwrap().status.success());
    let victim = queues.iter().find(|(name, _)| *name != user).unwrap();
    let queue = queue_of(stack, &victim.1).await;
    // No role may write to its own kind, and only coordinators and reencryptors to recovery units.
    let exchange = match user {
        "coordinator" => "keyhelm.pages",
        "reencryptor" => "keyhelm.to.gateways",
        _ => "keyhelm.to.recovery-units",
    };
    let tries: [Vec<String>; 3] = [
        vec!["get".into(), format!("queue={queue}")],
        vec![
            "publish".into(),
            format!("exchange={exchange}"),
            format!("routing_key={queue}"),
            "payload=x".into(),
        ],
        vec!["delete".into(), "queue".into(), format!("name={queue}")],
    ];
    let mut refused = 0;
    for attempt in tries {
        let (user_at, password_at) =
            (format!("--username={user}"), format!("--password={password}"));
        let mut program = vec!["rabbitmqadmin", "--vhost=keyhelm", &user_at, &password_at];
        program.extend(attempt.iter().map(String::as_str));
        let output = stack.exec("rabbitmq", &program).await.unwrap();
        let said = text_of(&output);
        assert!(!output.status.success(), "{user} could {attempt:?}: {said}");
        assert!(
            said.contains("refused") || said.contains("403") || said.contains("not authori"),
            "{said}"
        );
        refused += 1;
    }
    let revoke = ["rabbitmqctl", "-q", "set_user_tags", user];
    assert!(stack.exec("rabbitmq", &revoke).await.unwrap().status.success());
    refused
}

async fn queue_of(stack: &Stack, id: &str) -> String {
    let list = ["rabbitmqctl", "-q", "list_queues", "-p", "keyhelm", "name", "--no-table-headers"];
    let output = stack.exec("rabbitmq", &list).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find(|name| name.contains(id));
    found.unwrap_or_else(|| panic!("no queue of {id}: {text}")).trim().to_owned()
}

/// Broker and database speak TLS or not at all.
pub async fn nothing_is_said_in_clear(stack: &Stack) {
    let listeners = ["rabbitmq-diagnostics", "-q", "listeners", "--formatter", "json"];
    let output = stack.exec("rabbitmq", &listeners).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\"port\":5671,\"protocol\":\"amqp/ssl\""), "{text}");
    assert!(!text.contains("\"protocol\":\"amqp\""), "{text}");
    let url = stack.secret("coordinator", "database-url").await.unwrap();
    for (mode, is_taken) in [("disable", false), ("require", true)] {
        let to = format!("{url}?sslmode={mode}");
        let ask = ["psql", "-tAc", "SELECT 1", &to];
        let output = stack.exec("postgres", &ask).await.unwrap();
        let said = text_of(&output);
        assert_eq!(output.status.success(), is_taken, "sslmode={mode}: {said}");
        assert!(is_taken || said.contains("no encryption"), "{said}");
    }
}
