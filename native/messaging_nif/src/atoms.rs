//! Every atom that this library speaks.

rustler::atoms! {
    ok, error, nil,
    // Replies
    admitted, wait, not_found, already_stored,
    // Error reasons
    broker, closed, compression, connect, disconnected, duplicate, gpu_processing_not_enabled,
    internal_error, invalid_message_id, invalid_option, json, message_too_large, not_allowed, protocol, queue_full,
    send_timeout, timeout, topic_terminated, too_large, unsupported_processing_type,
    // Broker error codes
    unknown_error, metadata_error, persistence_error, authentication_error, authorization_error,
    consumer_busy, service_not_ready, producer_blocked_quota_exceeded_error,
    producer_blocked_quota_exceeded_exception, checksum_error, unsupported_version_error,
    topic_not_found, subscription_not_found, consumer_not_found, too_many_requests,
    topic_terminated_error, producer_busy, invalid_topic_name, incompatible_schema,
    consumer_assign_error, transaction_coordinator_not_found, invalid_txn_status, not_allowed_error,
    transaction_conflict, transaction_not_found, producer_fenced,
    // Messages
    pulsar_messages, pulsar_event, gpu_processed_messages,
    // Fields of structs and maps
    struct_ = "__struct__", batch_index, entry, event_time, key, message_id, ordering_key, payload,
    producer_name, properties, publish_time, redelivery_count, schema_version, sequence_id, topic,
    deliver_at, deliver_after, original_message_id, processed_data, metadata, gpu_device_id, backend,
    processing_time_ms, memory_used_mb, batch_size,
    message_struct = "Elixir.AMDGPUFramework.Messaging.Message",
    message_id_struct = "Elixir.AMDGPUFramework.Messaging.MessageId",
    processed_message_struct = "Elixir.AMDGPUFramework.Messaging.ProcessedMessage",
    // Options
    service_url, auth, token, connection_timeout_ms, operation_timeout_ms, keep_alive_ms,
    listener_name, tenant, namespace, tls, ca_file, hostname_verification, name, instance, batch_bytes, batch_delay,
    max_pending_messages, max_pending_bytes, send_timeout_ms = "send_timeout", routing, java_hash,
    murmur3, partition, none, lz4, zlib, zstd, snappy, sub_type, exclusive, shared, failover,
    key_shared, initial_position, latest, earliest, receiver_queue_size, max_bytes, flow, ack, manual,
    paused, nack_delay, ack_group_time, timestamp, processing_type, batch_timeout_ms, priority,
    output_format, parameters, output, forward_to_topic, output_producer, gpu, enabled,
    gpu_device_ids, processing_threads, memory_pool_size_mb, kernel_optimization, low, normal, high,
    critical, raw,
    // Events
    event_type, producer_id, consumer_id, reason, count, bytes, failed, topics, subscription, unacked,
    device, processing_time_us,
    // Statistics
    connected, connections, error_text = "error", partitions, pending_messages, pending_bytes,
    messages_sent, bytes_sent, messages_failed, messages_received, bytes_received, acked, nacked,
    redelivered, undecodable, messages, batches, retries, in_flight, dropped,
    refusals, output_failures, duplicates, id, cpu, hip, cuda,
    architecture, memory_total_mb, health, load, queued, queued_bytes, completed, busy,
}
