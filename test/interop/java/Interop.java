import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.logging.LogManager;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.HashingScheme;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageIdAdv;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.client.api.TypedMessageBuilder;

/** Answers one JSON command a line with one JSON line; binaries are base64. */
public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int RECEIVE_SECONDS = 30;

    private final PulsarClient client;
    private final Map<String, Consumer<byte[]>> consumers = new HashMap<>();

    private Interop(PulsarClient client) {
        this.client = client;
    }

    public static void main(String[] args) throws Exception {
        // What libraries print must not come between the answers.
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        LogManager.getLogManager().reset();
        Configurator.setAllLevels("", Level.ERROR);
        PulsarClient client = PulsarClient.builder().serviceUrl(args[0]).build();
        Interop interop = new Interop(client);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            ObjectNode answer;
            try {
                answer = interop.run(JSON.readTree(line));
            } catch (Exception e) {
                answer = JSON.createObjectNode().put("error", String.valueOf(e));
            }
            answers.println(JSON.writeValueAsString(answer));
        }
        // The other side is gone: nothing is left to be orderly for.
        System.exit(0);
    }

    private ObjectNode run(JsonNode command) throws Exception {
        switch (command.get("command").asText()) {
            case "produce": return produce(command);
            case "subscribe": return subscribe(command);
            case "receive": return receive(command);
            case "acknowledge": return acknowledge(command);
            case "close": return close(command);
            case "read_id": return describe(JSON.createObjectNode(), MessageId.fromByteArray(bytes(command.get("id"))));
            default: throw new IllegalArgumentException("unknown command " + command);
        }
    }

    private ObjectNode produce(JsonNode command) throws Exception {
        boolean batched = command.path("batched").asBoolean(true);
        int count = command.get("messages").size();
        try (Producer<byte[]> producer = client.newProducer()
                .topic(command.get("topic").asText())
                .compressionType(CompressionType.valueOf(command.path("compression").asText("NONE")))
                .hashingScheme(HashingScheme.valueOf(command.path("hashing").asText("JavaStringHash")))
                .enableBatching(batched)
                .batchingMaxMessages(Math.max(count, 2))
                .batchingMaxPublishDelay(10, TimeUnit.SECONDS)
                .create()) {
            List<CompletableFuture<MessageId>> sent = new ArrayList<>();
            for (JsonNode message : command.get("messages")) {
                sent.add(build(producer, message).sendAsync());
            }
            producer.flush();
            ObjectNode answer = JSON.createObjectNode();
            ArrayNode ids = answer.putArray("ids");
            for (CompletableFuture<MessageId> id : sent) {
                describe(ids.addObject(), id.get());
            }
            return answer;
        }
    }

    private static TypedMessageBuilder<byte[]> build(Producer<byte[]> producer, JsonNode message) {
        TypedMessageBuilder<byte[]> builder = producer.newMessage();
        builder.value(message.get("value").isNull() ? null : bytes(message.get("value")));
        if (message.has("key")) {
            builder.key(message.get("key").asText());
        }
        if (message.has("key_bytes")) {
            builder.keyBytes(bytes(message.get("key_bytes")));
        }
        if (message.has("ordering_key")) {
            builder.orderingKey(bytes(message.get("ordering_key")));
        }
        if (message.has("event_time")) {
            builder.eventTime(message.get("event_time").asLong());
        }
        message.path("properties").fields().forEachRemaining(e -> builder.property(e.getKey(), e.getValue().asText()));
        return builder;
    }

    private ObjectNode subscribe(JsonNode command) throws Exception {
        consumers.put(command.get("consumer").asText(), client.newConsumer()
                .topic(command.get("topic").asText())
                .subscriptionName(command.get("subscription").asText())
                .subscriptionType(SubscriptionType.valueOf(command.path("type").asText("Exclusive")))
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest)
                .enableBatchIndexAcknowledgment(true)
                .acknowledgmentGroupTime(0, TimeUnit.MILLISECONDS)
                .subscribe());
        return JSON.createObjectNode();
    }

    private ObjectNode receive(JsonNode command) throws Exception {
        Consumer<byte[]> consumer = consumer(command);
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode messages = answer.putArray("messages");
        for (int i = 0; i < command.get("count").asInt(); i++) {
            Message<byte[]> message = consumer.receive(RECEIVE_SECONDS, TimeUnit.SECONDS);
            if (message == null) {
                throw new IllegalStateException("only " + i + " messages came");
            }
            describe(messages.addObject(), message);
        }
        return answer;
    }

    private ObjectNode acknowledge(JsonNode command) throws Exception {
        MessageId id = MessageId.fromByteArrayWithTopic(bytes(command.get("id")), command.get("topic").asText());
        if (command.path("cumulative").asBoolean(false)) {
            consumer(command).acknowledgeCumulative(id);
        } else {
            consumer(command).acknowledge(id);
        }
        return JSON.createObjectNode();
    }

    private ObjectNode close(JsonNode command) throws Exception {
        consumers.remove(command.get("consumer").asText()).close();
        return JSON.createObjectNode();
    }

    private Consumer<byte[]> consumer(JsonNode command) {
        return consumers.get(command.get("consumer").asText());
    }

    private static void describe(ObjectNode node, Message<byte[]> message) {
        // A tombstone has a payload of no bytes, as an empty message has.
        node.put("value", message.getValue() == null ? null : base64(message.getData()));
        if (message.hasKey()) {
            node.put(message.hasBase64EncodedKey() ? "key_bytes" : "key",
                    message.hasBase64EncodedKey() ? base64(message.getKeyBytes()) : message.getKey());
        }
        if (message.hasOrderingKey()) {
            node.put("ordering_key", base64(message.getOrderingKey()));
        }
        node.put("event_time", message.getEventTime());
        node.put("publish_time", message.getPublishTime());
        node.put("sequence_id", message.getSequenceId());
        node.put("producer_name", message.getProducerName());
        node.put("topic", message.getTopicName());
        ObjectNode properties = node.putObject("properties");
        message.getProperties().forEach(properties::put);
        describe(node.putObject("id"), message.getMessageId());
    }

    private static ObjectNode describe(ObjectNode node, MessageId id) {
        MessageIdAdv place = (MessageIdAdv) id;
        return node.put("bytes", base64(id.toByteArray()))
                .put("ledger", place.getLedgerId())
                .put("entry", place.getEntryId())
                .put("partition", place.getPartitionIndex())
                .put("batch_index", place.getBatchIndex())
                .put("batch_size", place.getBatchSize());
    }

    private static byte[] bytes(JsonNode node) {
        return Base64.getDecoder().decode(node.asText());
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
