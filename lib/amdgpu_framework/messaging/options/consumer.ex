defmodule AMDGPUFramework.Messaging.Options.Consumer do
  @moduledoc false

  alias AMDGPUFramework.Messaging.Options

  @mib 1_048_576
  @sub_types [:exclusive, :shared, :failover, :key_shared]

  @doc "The subscription types."
  @spec sub_types() :: [atom]
  def sub_types, do: @sub_types

  @spec schema() :: Options.schema()
  def schema do
    [
      initial_position: [
        type: {:one_of, [:latest, :earliest]},
        default: :latest,
        doc:
          "Where a subscription that does not exist yet begins. `:latest` misses what was sent before; an existing subscription continues where it stands."
      ],
      receiver_queue_size: [
        type: {:integer, 1, 1_000_000},
        default: 1000,
        doc:
          "The window: so many messages may be delivered and not yet acknowledged. An owner that never acknowledges gets this many, then a `consumer_stalled` event."
      ],
      max_bytes: [
        type: {:integer, 1, 16_384 * @mib},
        default: 64 * @mib,
        doc:
          "The same window in bytes: what a slow owner can cost in memory. An entry larger than it is still delivered."
      ],
      flow: [
        type: {:one_of, [:ack, :manual]},
        default: :ack,
        doc:
          "`:ack`: room comes back as messages are acknowledged. `:manual`: nothing comes until `request/2` asks for it, as GenStage producers want it."
      ],
      paused: [
        type: :boolean,
        default: false,
        doc: "Subscribed, and nothing delivered until `resume/1`."
      ],
      nack_delay: [
        type: {:integer, 0, 86_400_000},
        default: 60_000,
        doc: "After so many ms a negatively acknowledged message comes back."
      ],
      ack_group_time: [
        type: {:integer, 0, 10_000},
        default: 100,
        doc:
          "Acknowledgements are sent to the broker together, every so many ms. Those not yet sent when the VM is killed come back as redeliveries."
      ],
      properties: [
        type: :properties,
        default: %{},
        doc: "Metadata of the consumer, shown by the broker's statistics."
      ],
      owner: [
        type: {:nullable, :process},
        default: nil,
        default_doc: "the calling process",
        doc:
          "The process that gets the messages; the consumer closes when it dies. `PulsarManager` itself publishes them on PubSub and acknowledges."
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
          "After so many ms without the broker's answer: `{:error, :consumer_creation_timeout}`."
      ]
    ]
  end
end
