defmodule AMDGPUFramework.Messaging.PubSub do
  @moduledoc """
  Publishing to whoever listens: over Phoenix.PubSub where it is loaded and the configured server runs, else over OTP's
  process groups (`:pg`), which span connected nodes too.

  | Topic | Message |
  |---|---|
  | `"gpu_processed_messages:<consumer_id>"` | `{:gpu_processed_message, processed_message}` |
  | `"pulsar_events"` | `{:pulsar_event, event}` |
  | `"pulsar_messages:<consumer_id>"` | `{:pulsar_messages, consumer_id, messages}`, for consumers whose owner is the manager |

  Delivery is at most once: a subscriber with more than #{AMDGPUFramework.Messaging.BoundedSend.limit()} messages in its mailbox gets no more
  until it has caught up, and what it missed is counted (`dropped/0`).

  With Phoenix.PubSub in the application, subscribe with it as usual:

      Phoenix.PubSub.subscribe(AMDGPUFramework.PubSub, "gpu_processed_messages:my_consumer")

  """

  alias AMDGPUFramework.Messaging.BoundedSend

  # Not AMDGPUFramework.PubSub: that is the name users give to their Phoenix.PubSub.
  @scope __MODULE__
  @default AMDGPUFramework.PubSub
  @phoenix Phoenix.PubSub

  @doc false
  def child_spec(_arg), do: %{id: __MODULE__, start: {__MODULE__, :start_link, []}}

  @doc false
  def start_link do
    BoundedSend.setup()
    :pg.start_link(@scope)
  end

  @doc """
  Subscribes the calling process to a topic, through whichever of the two is at hand.

      :ok = AMDGPUFramework.Messaging.PubSub.subscribe("gpu_processed_messages:my_consumer")
      receive do
        {:gpu_processed_message, processed} -> processed.processed_data
      end

  """
  @spec subscribe(atom, String.t()) :: :ok | {:error, term}
  def subscribe(pubsub \\ @default, topic) when is_binary(topic) do
    case phoenix(pubsub) do
      {:ok, _adapter} -> apply(@phoenix, :subscribe, [pubsub, topic])
      :error -> :pg.join(@scope, {pubsub, topic}, self())
    end
  end

  @doc "Ends what `subscribe/2` began."
  @spec unsubscribe(atom, String.t()) :: :ok
  def unsubscribe(pubsub \\ @default, topic) when is_binary(topic) do
    with {:ok, _adapter} <- phoenix(pubsub), do: apply(@phoenix, :unsubscribe, [pubsub, topic])
    # A subscription from before Phoenix.PubSub was running is here.
    _ = :pg.leave(@scope, {pubsub, topic}, self())
    :ok
  end

  @doc """
  Publishes messages on a topic, in order.

      AMDGPUFramework.Messaging.PubSub.broadcast("pulsar_events", [{:pulsar_event, %{event_type: "mine"}}])

  """
  @spec broadcast(atom, String.t(), [term]) :: :ok
  def broadcast(pubsub \\ @default, topic, messages)
      when is_binary(topic) and is_list(messages) do
    for member <- :pg.get_members(@scope, {pubsub, topic}),
        do: BoundedSend.send_all(member, messages)

    case phoenix(pubsub) do
      {:ok, adapter} -> broadcast_phoenix(pubsub, adapter, topic, messages)
      :error -> :ok
    end
  end

  @doc "How many messages were dropped, over all topics and event subscribers, since the VM started."
  @spec dropped() :: non_neg_integer
  def dropped, do: BoundedSend.dropped()

  @doc false
  # Called by Phoenix.PubSub for the local subscribers, in the place of its own dispatcher.
  def dispatch(entries, from, message) do
    for {pid, _metadata} <- entries, pid != from, do: BoundedSend.send_all(pid, [message])
    :ok
  end

  # Other nodes may not have this module, so they get the message through Phoenix's own dispatcher.
  defp broadcast_phoenix(pubsub, {module, name}, topic, messages) do
    for message <- messages do
      module.broadcast(name, topic, message, @phoenix)
      apply(@phoenix, :local_broadcast, [pubsub, topic, message, __MODULE__])
    end

    :ok
  catch
    # The server may stop while it is used; publishing is at most once.
    _kind, _reason -> :ok
  end

  defp phoenix(pubsub) do
    with true <- Code.ensure_loaded?(@phoenix),
         {:ok, {_module, _name} = adapter} <- Registry.meta(pubsub, :pubsub) do
      {:ok, adapter}
    else
      _ -> :error
    end
  rescue
    # No registry of that name: no such server runs.
    ArgumentError -> :error
  end
end
