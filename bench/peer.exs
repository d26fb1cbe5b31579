# This library as one of the clients of a side-by-side measurement; see bench/README.md.
#
#   mix run bench/peer.exs produce TOPIC N SIZE none|lz4 DELAY_MS BATCH BYTES PENDING
#   mix run bench/peer.exs consume TOPIC N ind|cum [SUBSCRIPTION]
#   mix run bench/peer.exs latency TOPIC RATE SECS SIZE
#
# It prints one line, `RESULT {json}`. PEERS_BUILD is the directory of payload_SIZE.bin, RQ the receiver queue size, and
# PULSAR_SERVICE_URL the broker (pulsar://127.0.0.1:6650).

defmodule Peer do
  import Bitwise

  alias AMDGPUFramework.Messaging.PulsarManager

  @pool_size 1024
  @list 500
  @timeout 60_000

  def main(arguments) do
    url = System.get_env("PULSAR_SERVICE_URL", "pulsar://127.0.0.1:6650")
    {:ok, manager} = PulsarManager.start_link(broker_service_url: url)

    case arguments do
      ["produce", topic, n, size, compression, delay, batch, bytes, pending] ->
        produce(topic, int(n), int(size),
          compression: compression,
          batch_delay: int(delay),
          batch_size: int(batch),
          batch_bytes: int(bytes),
          max_pending_messages: int(pending)
        )

      ["consume", topic, n, mode] when mode in ["ind", "cum"] ->
        consume(topic, int(n), mode, "s-#{System.os_time()}")

      ["consume", topic, n, mode, subscription] when mode in ["ind", "cum"] ->
        consume(topic, int(n), mode, subscription)

      ["latency", topic, rate, secs, size] ->
        latency(topic, int(rate), int(secs), int(size))
    end

    GenServer.stop(manager)
  end

  defp produce(topic, n, size, options) do
    producer = producer(topic, options)
    pool = pool(size)
    lists = max(div(options[:max_pending_messages], @list), 1)
    start = start_clock()
    failed = send_lists(producer, pool, 0, n, :queue.new(), lists, 0)
    finish("produce", n, start)
    if failed > 0, do: IO.puts("ERRORS #{failed}")
    :ok = PulsarManager.close(producer)
  end

  # So many lists are unconfirmed at a time; every receipt is looked at.
  defp send_lists(producer, pool, sent, n, receipts, lists, failed) do
    cond do
      sent < n and :queue.len(receipts) < lists ->
        count = min(@list, n - sent)
        payloads = for i <- sent..(sent + count - 1), do: elem(pool, i &&& @pool_size - 1)
        {:ok, ref} = PulsarManager.send_messages_async(producer, payloads)
        send_lists(producer, pool, sent + count, n, :queue.in(ref, receipts), lists, failed)

      :queue.is_empty(receipts) ->
        failed

      true ->
        {{:value, ref}, receipts} = :queue.out(receipts)
        send_lists(producer, pool, sent, n, receipts, lists, failed + failures(ref))
    end
  end

  defp failures(ref) do
    receive do
      {^ref, {:ok, _ids}} -> 0
      {^ref, {:error, {_reason, partial}}} -> Enum.count(partial, &match?({:error, _}, &1))
    after
      @timeout -> raise "no receipt"
    end
  end

  defp consume(topic, n, mode, subscription) do
    consumer = consumer(topic, subscription, :exclusive, :earliest)

    # The clock starts when messages flow; what came first is not counted.
    first = next(consumer)
    acknowledge(consumer, first, mode)
    counted = n - length(first)
    start = start_clock()
    touched = drain(consumer, counted, mode, 0)
    finish("consume", counted, start)
    if touched == 0, do: IO.puts("ERRORS no payloads")
    :ok = PulsarManager.close(consumer)
  end

  defp drain(_consumer, left, _mode, touched) when left <= 0, do: touched

  defp drain(consumer, left, mode, touched) do
    messages = next(consumer)
    touched = touch(messages, touched)
    acknowledge(consumer, messages, mode)
    drain(consumer, left - length(messages), mode, touched)
  end

  defp touch([], touched), do: touched

  defp touch([%{payload: <<first, _::binary>> = payload} | rest], touched),
    do: touch(rest, touched + byte_size(payload) + first)

  defp acknowledge(consumer, messages, "ind"), do: :ok = PulsarManager.ack(consumer, messages)

  defp acknowledge(consumer, messages, "cum"),
    do: :ok = PulsarManager.ack_cumulative(consumer, List.last(messages))

  defp next(consumer) do
    receive do
      {:pulsar_messages, id, messages} when id == consumer.id -> messages
    after
      @timeout -> raise "no message"
    end
  end

  defp latency(topic, rate, secs, size) do
    n = rate * secs
    producer_of = self()

    receiver =
      Task.async(fn ->
        consumer = consumer(topic, "lat", :exclusive, :latest)
        send(producer_of, :subscribed)
        latencies = measure(consumer, n, [])
        {latencies, consumer}
      end)

    receive do
      :subscribed -> :ok
    end

    options = [compression: :none, batch_delay: 1, batch_size: 1000, batch_bytes: 131_072]
    producer = producer(topic, options)
    pool = pool(size)
    {time, cpu} = start_clock()
    send_paced(producer, pool, 0, n, rate, time)
    {latencies, _consumer} = Task.await(receiver, :infinity)
    cpu = cpu_us() - cpu

    counted =
      latencies |> Enum.reverse() |> Enum.drop(div(n, 3)) |> Enum.sort() |> List.to_tuple()

    count = tuple_size(counted)
    at = fn share -> elem(counted, min(trunc(count * share), count - 1)) / 1.0e6 end

    result(
      mode: "\"latency\"",
      n: "#{count}",
      p50_ms: decimals(at.(0.5), 3),
      p99_ms: decimals(at.(0.99), 3),
      p999_ms: decimals(at.(0.999), 3),
      max_ms: decimals(at.(1), 3),
      cpu_us_msg: decimals(cpu / n, 3)
    )

    :ok = PulsarManager.close(producer)
  end

  defp measure(_consumer, 0, latencies), do: latencies

  defp measure(consumer, left, latencies) do
    messages = next(consumer)
    now = System.os_time(:nanosecond)

    latencies =
      Enum.reduce(messages, latencies, fn %{payload: <<sent::64, _::binary>>}, latencies ->
        [now - sent | latencies]
      end)

    acknowledge(consumer, messages, "ind")
    measure(consumer, left - length(messages), latencies)
  end

  defp send_paced(_producer, _pool, n, n, _rate, _start), do: :ok

  defp send_paced(producer, pool, sent, n, rate, start) do
    due = min(n, div((System.monotonic_time(:nanosecond) - start) * rate, 1_000_000_000))

    for i <- sent..(due - 1)//1 do
      <<_::64, rest::binary>> = elem(pool, i &&& @pool_size - 1)
      payload = <<System.os_time(:nanosecond)::64, rest::binary>>
      {:ok, _ref} = PulsarManager.send_async(producer, payload)
    end

    receipts(1)
    send_paced(producer, pool, max(due, sent), n, rate, start)
  end

  defp receipts(wait) do
    receive do
      {ref, {:ok, _id}} when is_reference(ref) -> receipts(0)
      {ref, {:error, reason}} when is_reference(ref) -> raise "not sent: #{inspect(reason)}"
    after
      wait -> :ok
    end
  end

  defp producer(topic, options) do
    {:ok, id} = PulsarManager.create_producer(topic, options)
    {:ok, handle} = PulsarManager.lookup(id)
    handle
  end

  defp consumer(topic, subscription, type, position) do
    queue = int(System.get_env("RQ", "1000"))
    options = [initial_position: position, receiver_queue_size: queue]
    {:ok, id} = PulsarManager.create_consumer(topic, subscription, nil, type, options)
    {:ok, handle} = PulsarManager.lookup(id)
    handle
  end

  defp pool(size) do
    file = Path.join(System.fetch_env!("PEERS_BUILD"), "payload_#{size}.bin")
    bytes = File.read!(file)
    List.to_tuple(for i <- 0..(@pool_size - 1), do: binary_part(bytes, i * size, size))
  end

  defp start_clock, do: {System.monotonic_time(:nanosecond), cpu_us()}

  defp finish(mode, n, {time, cpu}) do
    secs = (System.monotonic_time(:nanosecond) - time) / 1.0e9
    cpu = cpu_us() - cpu

    result(
      mode: "\"#{mode}\"",
      n: "#{n}",
      secs: decimals(secs, 3),
      rate: decimals(n / secs, 0),
      cpu_us_msg: decimals(cpu / n, 3)
    )
  end

  defp result(fields) do
    IO.puts("RESULT {" <> Enum.map_join(fields, ",", fn {k, v} -> "\"#{k}\":#{v}" end) <> "}")
  end

  # User and system time of all threads; the fields stand after the name, which may contain spaces.
  defp cpu_us do
    [_, fields] = "/proc/self/stat" |> File.read!() |> String.split(") ", parts: 2)
    [user, system] = fields |> String.split() |> Enum.slice(11, 2) |> Enum.map(&int/1)
    (user + system) * 10_000
  end

  defp decimals(number, 0), do: "#{round(number)}"
  defp decimals(number, count), do: :erlang.float_to_binary(number / 1, decimals: count)

  defp int(text), do: String.to_integer(text)
end

Logger.configure(level: :warning)
Peer.main(System.argv())
