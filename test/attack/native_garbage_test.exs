defmodule AMDGPUFramework.Attack.NativeGarbageTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.Messaging.{ManagerServer, Native}

  @rounds 20_000
  @mib 1_048_576

  # With a reference of ours these do what they are for, and the handles are needed until the end.
  @closing [:client_close, :producer_close, :consumer_close, :consumer_unsubscribe]

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    manager = start_manager(broker)
    topic = TestBroker.topic("garbage")
    producer = producer!(manager, topic)
    consumer = consumer!(manager, topic)
    {:ok, client, _config} = ManagerServer.context(manager)
    {:ok, %{native: native_producer}} = PulsarManager.lookup(producer)
    {:ok, %{native: native_consumer}} = PulsarManager.lookup(consumer)

    handles = %{client: client, producer: native_producer, consumer: native_consumer}
    %{manager: manager, topic: topic, producer: producer, consumer: consumer, handles: handles}
  end

  test "garbage is refused, whatever and wherever it is", context do
    seed = ExUnit.configuration()[:seed]
    :rand.seed(:exsss, seed)
    before = resident()

    functions =
      for {name, arity} <- Native.__info__(:functions), name not in [:load, :gpu_devices] do
        {name, arity}
      end

    for round <- 1..@rounds do
      {name, arity} = Enum.random(functions)
      arguments = arguments(name, arity, context)

      case call(name, arguments) do
        {:raised, %ArgumentError{}} -> :ok
        {:raised, %ErlangError{original: :badarg}} -> :ok
        {:raised, e} -> flunk("seed #{seed}, round #{round}: #{name} raised #{inspect(e)}")
        {:returned, result} -> assert_answer(name, result)
      end

      flush()
    end

    assert resident() - before < 256 * @mib
    assert Process.alive?(context.manager)
    {:ok, _} = PulsarManager.send_message(context.producer, "still here")
    assert "still here" in payloads(receive_until(context.consumer, "still here", []))
  end

  test "made-up message ids of the topic are refused or harmless", context do
    :rand.seed(:exsss, {1, 2, 3})
    %{consumer: consumer, topic: topic, producer: producer} = context
    before = resident()

    for _ <- 1..20_000 do
      id = %MessageId{
        entry: {number(), number(), number(), number(), topic},
        batch_index: number()
      }

      case PulsarManager.ack(consumer, [id]) do
        :ok -> assert MessageId.batch_size(id) <= 1_048_576
        {:error, {:invalid_option, :message_id, _, _}} -> :ok
      end
    end

    assert resident() - before < 512 * @mib
    {:ok, _} = PulsarManager.send_message(producer, "real")
    assert "real" in payloads(receive_until(consumer, "real", []))
  end

  test "a value in an error is short, however large what was given", context do
    large = [
      Enum.to_list(1..500_000),
      :binary.copy(<<200>>, 20 * @mib),
      :binary.copy("é", 10 * @mib),
      Map.new(1..50_000, &{&1, &1}),
      Integer.pow(7, 100_000),
      List.to_tuple(Enum.to_list(1..10_000)),
      [1 | 2],
      <<1::3>>
    ]

    for value <- large do
      assert {:error, {:invalid_option, :messages, text, _}} =
               Native.consumer_ack(context.handles.consumer, {value})

      assert byte_size(text) < 1000 and String.valid?(text)
      assert {:error, {:invalid_option, _, text, _}} = Native.json_encode(%{"k" => {value}})
      assert byte_size(text) < 1000 and String.valid?(text)
    end
  end

  test "a small term that would be large JSON is refused" do
    doubled = Enum.reduce(1..60, "x", fn _, inner -> [inner, inner] end)

    assert {:error, {:invalid_option, :json, text, _}} =
             AMDGPUFramework.Messaging.JSON.encode(doubled)

    assert byte_size(text) < 1000
  end

  test "a key that nobody has named does not become an atom" do
    atoms = :erlang.system_info(:atom_count)

    for n <- 1..100 do
      config = %{processing_type: "compute_operation", parameters: %{"never #{n} named" => 1}}
      assert {:error, _} = PulsarManager.start_gpu_processing("nobody", config)
    end

    assert :erlang.system_info(:atom_count) - atoms < 50
  end

  defp arguments(name, arity, context) do
    right = for position <- 0..(arity - 1)//1, do: right(name, position, context)

    case arity do
      0 ->
        []

      _ ->
        Enum.reduce(
          wrong_positions(name, arity),
          right,
          &List.replace_at(&2, &1, garbage(&1, name))
        )
    end
    |> Enum.map(fn
      :random -> garbage()
      value -> value
    end)
  end

  defp wrong_positions(name, _arity) when name in @closing, do: [1]

  defp wrong_positions(_name, arity),
    do: Enum.uniq(for _ <- 1..:rand.uniform(2), do: :rand.uniform(arity) - 1)

  defp garbage(1, name) when name in @closing do
    case garbage() do
      reference when is_reference(reference) -> :not_a_reference
      other -> other
    end
  end

  defp garbage(_position, _name), do: garbage()

  defp right(name, 0, context) do
    case name |> Atom.to_string() |> String.split("_") |> hd() do
      "client" when name == :client_open -> %{service_url: "pulsar://127.0.0.1:1"}
      kind when kind in ["client"] -> context.handles.client
      "producer" when name == :producer_open -> dead_client()
      "producer" -> context.handles.producer
      "consumer" when name == :consumer_open -> dead_client()
      "consumer" -> context.handles.consumer
      "processor" -> context.handles.consumer
      _ -> :random
    end
  end

  defp right(:client_open, 1, _), do: 1
  defp right(:client_open, 2, _), do: self()
  defp right(:client_close, 2, _), do: 1
  defp right(:producer_send, 2, _), do: [nil, {"x", %{key: "k"}}]
  defp right(:producer_send, 3, _), do: true
  defp right(:processor_start, 1, context), do: context.handles.client
  defp right(:processor_start, 2, _), do: make_ref()

  defp right(:processor_start, 3, _),
    do: %{processing_type: "compute_operation", gpu: %{enabled: false}}

  defp right(:processor_start, 4, _), do: self()
  defp right(name, 1, context) when name in [:consumer_ack, :consumer_nack], do: [id(context)]
  defp right(_name, 1, _), do: make_ref()
  defp right(_name, 2, _), do: "id"
  defp right(:consumer_open, 3, _), do: ["t"]
  defp right(:consumer_open, 4, _), do: "s"
  defp right(:consumer_open, 5, _), do: %{}
  defp right(:producer_open, 3, _), do: "t"
  defp right(:producer_open, 4, _), do: %{}
  defp right(_name, _position, _), do: self()

  defp id(context), do: %MessageId{entry: {1, 1, -1, 10, context.topic}, batch_index: 3}

  # Nothing that is opened with it reaches a broker.
  defp dead_client do
    config = %{service_url: "pulsar://127.0.0.1:1", operation_timeout_ms: 1}
    {:ok, client} = Native.client_open(config, 1, self())
    client
  end

  defp garbage(depth \\ 3) do
    case :rand.uniform(if depth > 0, do: 22, else: 14) do
      1 ->
        number()

      2 ->
        :rand.uniform() * 1.0e300

      3 ->
        Enum.random([nil, true, :ok, :"", :earliest, :__struct__, :none, Elixir.String])

      4 ->
        :rand.bytes(:rand.uniform(40))

      5 ->
        <<5::size(3)>>

      6 ->
        ""

      7 ->
        String.duplicate("x", :rand.uniform(100_000))

      8 ->
        self()

      9 ->
        make_ref()

      10 ->
        fn -> :ok end

      11 ->
        hd(Port.list())

      12 ->
        dead_client()

      13 ->
        []

      14 ->
        "persistent://public/default/x"

      15 ->
        [garbage(depth - 1) | garbage(depth - 1)]

      16 ->
        for(_ <- 1..:rand.uniform(5), do: garbage(depth - 1))

      17 ->
        List.duplicate(garbage(depth - 1), :rand.uniform(3000))

      18 ->
        List.to_tuple(for(_ <- 1..:rand.uniform(6), do: garbage(depth - 1)))

      19 ->
        Map.new(1..:rand.uniform(50), &{&1, garbage(depth - 1)})

      20 ->
        %MessageId{
          entry: {number(), number(), number(), number(), garbage(0)},
          batch_index: number()
        }

      21 ->
        %Message{message_id: garbage(depth - 1), payload: garbage(0)}

      22 ->
        options(depth)
    end
  end

  defp options(depth) do
    keys =
      [:batch_size, :name, :properties, :routing, :compression, :instance, :sub_type] ++
        [:receiver_queue_size, :key, :event_time, :gpu, :parameters, :tls, :service_url, :auth]

    Map.new(1..3, fn _ -> {Enum.random(keys), garbage(depth - 1)} end)
  end

  defp number do
    case :rand.uniform(7) do
      1 -> 0
      2 -> -1
      3 -> :rand.uniform(2000)
      4 -> 0x7FFF_FFFF
      5 -> 0xFFFF_FFFF_FFFF_FFFF
      6 -> Integer.pow(2, 64) + :rand.uniform(10)
      7 -> -Integer.pow(2, 300)
    end
  end

  defp call(name, arguments) do
    {:returned, apply(Native, name, arguments)}
  rescue
    error -> {:raised, error}
  end

  defp assert_answer(_name, :ok), do: :ok
  defp assert_answer(_name, {:ok, _}), do: :ok
  defp assert_answer(:producer_send, :wait), do: :ok
  defp assert_answer(:producer_cancel, :not_found), do: :ok
  defp assert_answer(_name, :too_large), do: :ok

  defp assert_answer(name, {:error, {:invalid_option, key, value, allowed}}) do
    assert is_atom(key) or is_binary(key), "#{name}: #{inspect(key)}"
    assert is_binary(value) and is_binary(allowed)
  end

  defp assert_answer(_name, {:error, reason}) when is_atom(reason), do: :ok
  defp assert_answer(_name, {:error, {kind, _text}}) when is_atom(kind), do: :ok
  defp assert_answer(:message_id_to_binary, binary) when is_binary(binary), do: :ok
  defp assert_answer(:version, version) when is_binary(version), do: :ok

  defp assert_answer(name, map) when name in [:producer_stats, :consumer_stats] and is_map(map),
    do: :ok

  defp assert_answer(name, other), do: flunk("#{name} answered #{inspect(other)}")

  # Answers to calls that were right by chance; deliveries stay.
  defp flush do
    receive do
      {ref, _} when is_reference(ref) -> flush()
      {:pulsar_event, _tag, _event} -> flush()
    after
      0 -> :ok
    end
  end

  defp receive_until(consumer, payload, received) do
    if payload in payloads(received),
      do: received,
      else: receive_until(consumer, payload, received ++ receive_messages(consumer, 1))
  end

  defp resident do
    with {:ok, status} <- File.read("/proc/self/status"),
         [_, kib] <- Regex.run(~r/VmRSS:\s+(\d+) kB/, status) do
      String.to_integer(kib) * 1024
    else
      _ -> 0
    end
  end
end
