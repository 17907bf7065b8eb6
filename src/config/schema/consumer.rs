//! Consumers (config.md 8.15): queues from which API commands are read.

use super::{
    shared::{ATTRIBUTE_MODE, HEADER_MODE, PROPERTY_MODE, REDIS, TLS, VALUE_MODE},
    table::{bool, int, int32, millis, secret, secs, section, signed, text, texts},
};

table! {
    POSTGRESQL:
    B dsn                            secret()    "Connection string. Required.";
    B outbox_table_name              text("")    "Table to read. Required.";
    B num_partitions                 int(1)      "Partitions of the table, each read by a worker.";
    C partition_select_limit         int(100)    "Rows read at once.";
    B partition_poll_interval        millis(300) "How often to look while nothing happens.";
    B partition_notification_channel text("")    "Channel of NOTIFY that wakes the workers.";
    C partition_notification_dsn     secret()    "Direct connection for LISTEN, past a pooler.";
    C tls                            section(&[TLS]) "TLS to PostgreSQL.";
    C use_try_lock                   bool(false) "Try for the lock of a partition, do not wait for it.";
}

table! {
    KAFKA:
    B brokers                  texts(&[])   "Brokers to begin with. Required.";
    B topics                   texts(&[])   "Topics to read. Required.";
    B consumer_group           text("")     "Consumer group. Required.";
    C max_poll_records         int(100)     "Records read at once.";
    C fetch_max_bytes          int32(0)     "Bytes of one fetch; 0 leaves it to the client.";
    C fetch_max_wait           millis(500)  "Longest wait of one fetch.";
    C fetch_read_uncommitted   bool(false)  "Read records of open transactions as well.";
    C partition_queue_max_size signed(1000) "Records waiting per partition before it pauses; -1 pauses always.";
    C dial_timeout             secs(3)      "Longest wait for a connection.";
    B tls                      section(&[TLS]) "TLS to Kafka.";
    B sasl_mechanism           text("")     "`plain`, `scram-sha-256`, `scram-sha-512`, `aws-msk-iam`; empty means none.";
    B sasl_user                text("")     "User, or access key.";
    B sasl_password            secret()     "Password, or secret key.";
    C assume_role_arn          text("")     "Role to take with `aws-msk-iam`.";
    C instance_id              text("")     "Fixed name of this member of the group.";
    C method_header            text("centrifugo-method") "Header with the API method.";
    B publication_data_mode    section(&[HEADER_MODE]) "Publish payloads as they are.";
}

table! {
    NATS_JETSTREAM:
    C url                   text("nats://127.0.0.1:4222") "Address of the server.";
    C credentials_file      text("")    "File with credentials.";
    C username              text("")    "User to sign in as.";
    C password              secret()    "Password to sign in with.";
    C token                 secret()    "Token to sign in with.";
    C stream_name           text("")    "Stream to read. Required.";
    C use_existing_consumer bool(false) "Use a consumer that exists, create none.";
    C subjects              texts(&[])  "Subjects to read. Required unless the consumer exists.";
    C durable_consumer_name text("")    "Durable name of the consumer. Required.";
    C deliver_policy        text("new") "Where to begin: `new` or `all`.";
    C max_ack_pending       int(100)    "Messages under way at once.";
    C method_header         text("centrifugo-method") "Header with the API method.";
    C publication_data_mode section(&[HEADER_MODE]) "Publish payloads as they are.";
    C tls                   section(&[TLS]) "TLS to NATS.";
}

table! {
    REDIS_STREAM:
    C streams               texts(&[])      "Keys of the streams. Required.";
    C consumer_group        text("")        "Consumer group. Required.";
    C visibility_timeout    secs(30)        "Idle time after which another worker takes a message.";
    C num_workers           int(1)          "Workers for each stream.";
    C payload_value         text("payload") "Field with the payload.";
    C method_value          text("method")  "Field with the API method.";
    C publication_data_mode section(&[VALUE_MODE]) "Publish payloads as they are.";
}

table! {
    GOOGLE_PUB_SUB:
    C project_id               text("")       "Project. Required.";
    C subscriptions            texts(&[])     "Subscriptions to read. Required.";
    C max_outstanding_messages int(100)       "Messages under way at once.";
    C max_outstanding_bytes    int(1_000_000) "Bytes under way at once.";
    C auth_mechanism           text("")       "`default` (the same as empty) or `service_account`.";
    C credentials_file         text("")       "File of the service account.";
    C method_attribute         text("centrifugo-method") "Attribute with the API method.";
    C publication_data_mode    section(&[ATTRIBUTE_MODE]) "Publish payloads as they are.";
}

table! {
    AWS_SQS:
    C queues                 texts(&[])  "Addresses of the queues. Required.";
    C sns_envelope           bool(false) "Bodies are notifications of SNS.";
    C region                 text("")    "Region. Required.";
    C max_number_of_messages int32(10)   "Messages of one request, at most 10.";
    C wait_time_time         secs(20)    "How long one request waits.";
    C visibility_timeout     secs(30)    "Time after which an unfinished message returns.";
    C max_concurrency        int(1)      "Messages, or groups of them, under way at once.";
    C credentials_profile    text("")    "Profile to take credentials from.";
    C assume_role_arn        text("")    "Role to take on.";
    C method_attribute       text("centrifugo-method") "Attribute with the API method.";
    C localstack_endpoint    text("")    "Other endpoint, for tests.";
    C publication_data_mode  section(&[ATTRIBUTE_MODE]) "Publish payloads as they are.";
}

table! {
    AZURE_SERVICE_BUS:
    C connection_string         secret()    "Connection string.";
    C use_azure_identity        bool(false) "Use an identity in place of the connection string.";
    C fully_qualified_namespace text("")    "Host of the namespace.";
    C tenant_id                 text("")    "Tenant of the application.";
    C client_id                 text("")    "Application to sign in as.";
    C client_secret             secret()    "Secret of that application.";
    C queues                    texts(&[])  "Queues to read. Required.";
    C use_sessions              bool(false) "Read by sessions.";
    C max_concurrent_calls      int(1)      "Receivers for each queue.";
    C max_receive_messages      int(1)      "Messages received at once.";
    C method_property           text("centrifugo-method") "Property with the API method.";
    C publication_data_mode     section(&[PROPERTY_MODE]) "Publish payloads as they are.";
}

table! {
    CONSUMER:
    B name              text("")    "Name: two or more of letters, digits, `_`.";
    B enabled           bool(false) "Switches this consumer on." [missing];
    B type              text("")    "`postgresql`, `kafka`, `nats_jetstream`, `redis_stream`, `google_pub_sub`, `aws_sqs` or `azure_service_bus`.";
    B postgresql        section(&[POSTGRESQL])          "A table in PostgreSQL.";
    B kafka             section(&[KAFKA])               "Topics of Kafka.";
    C nats_jetstream    section(&[NATS_JETSTREAM])      "A stream of NATS JetStream.";
    C redis_stream      section(&[REDIS, REDIS_STREAM]) "Streams of Redis, on one server or cluster.";
    C google_pub_sub    section(&[GOOGLE_PUB_SUB])      "Subscriptions of Google Pub/Sub.";
    C aws_sqs           section(&[AWS_SQS])             "Queues of AWS SQS.";
    C azure_service_bus section(&[AZURE_SERVICE_BUS])   "Queues of Azure Service Bus.";
}
