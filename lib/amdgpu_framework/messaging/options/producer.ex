defmodule AMDGPUFramework.Messaging.Options.Producer do
  @moduledoc false

  alias AMDGPUFramework.Messaging.Options

  @mib 1_048_576

  @spec schema() :: Options.schema()
  def schema do
    [
      batch_size: [
        type: {:integer, 1, 100_000},
        default: 1000,
        doc: "The most messages in one batch; 1 sends each alone, at a tenth of the rate."
      ],
      batch_bytes: [
        type: {:integer, 1, 5 * @mib},
        default: 128 * 1024,
        doc: "The most bytes in one batch, before compression. A larger message is sent alone."
      ],
      batch_delay: [
        type: {:integer, 0, 60_000},
        default: 1,
        doc:
          "How long, in ms, a batch waits for more messages while an earlier one is unconfirmed. With nothing in flight it leaves at once."
      ],
      compression: [
        type: {:one_of, [:none, :lz4, :zlib, :zstd, :snappy]},
        default: :lz4,
        doc: "Applied to whole batches; every consumer of the topic has to know it."
      ],
      max_pending_messages: [
        type: {:integer, 1, 1_000_000},
        default: 10_000,
        doc:
          "How many messages may be unconfirmed. Then senders wait, or get `:queue_full` (see `:block`)."
      ],
      max_pending_bytes: [
        type: {:integer, 1, 4096 * @mib},
        default: 64 * @mib,
        doc: "The same bound in bytes: memory that an unreachable broker can cost."
      ],
      block: [
        type: :boolean,
        default: true,
        doc:
          "`true`: a sender waits for room, first come first served. `false`: it gets `{:error, :queue_full}` and nothing was sent."
      ],
      send_timeout: [
        type: {:integer, 0, 86_400_000},
        default: 30_000,
        doc:
          "After so many ms a message that is not confirmed fails with `:send_timeout`, outcome unknown. 0: never; an outage then holds senders for as long as it lasts."
      ],
      routing: [
        type: {:custom, &__MODULE__.cast_routing/1, ":java_hash, :murmur3 or {:partition, n}"},
        default: :java_hash,
        doc:
          "How a key chooses its partition. `:java_hash` is what the Java client does by default; clients that share a topic must agree or keys lose their order."
      ],
      properties: [
        type: :properties,
        default: %{},
        doc: "Metadata of the producer, shown by the broker's statistics."
      ],
      owner: [
        type: {:nullable, :process},
        default: nil,
        default_doc: "the manager",
        doc: "The producer closes when this process dies."
      ],
      manager: [
        type: {:custom, &Options.Manager.cast/1, Options.Manager.allowed()},
        default: AMDGPUFramework.Messaging.PulsarManager,
        doc: "The cluster, by the `:name` its manager was started with."
      ],
      timeout: [
        type: {:integer, 1, 86_400_000},
        default: 30_000,
        doc:
          "After so many ms without the broker's answer: `{:error, :producer_creation_timeout}`."
      ]
    ]
  end

  @doc false
  def cast_routing(routing) when routing in [:java_hash, :murmur3], do: {:ok, routing}

  def cast_routing({:partition, n} = routing) when is_integer(n) and n in 0..65_535,
    do: {:ok, routing}

  def cast_routing(_routing), do: :error
end
