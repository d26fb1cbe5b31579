defmodule AMDGPUFramework.Messaging.PulsarManagerTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{Creation, PulsarManager}

  describe "without a manager or a broker" do
    test "creating says that no manager runs" do
      assert {:error, :manager_not_running} =
               PulsarManager.create_producer("t", manager: :no_manager)

      assert {:error, :manager_not_running} =
               PulsarManager.create_consumer("t", "s", manager: :no_manager)

      assert {:error, :manager_not_running} = PulsarManager.health(:no_manager)
      assert {:error, :manager_not_running} = PulsarManager.stats(:no_manager)
      assert {:error, :manager_not_running} = PulsarManager.subscribe(:no_manager)
    end

    test "an unknown id is an error of every function" do
      for result <- [
            PulsarManager.send_message("nobody", "x"),
            PulsarManager.send_messages("nobody", ["x"]),
            PulsarManager.send_async("nobody", "x"),
            PulsarManager.send_messages_async("nobody", ["x"]),
            PulsarManager.flush("nobody")
          ] do
        assert result == {:error, :producer_not_found}
      end

      for result <- [
            PulsarManager.ack("nobody", []),
            PulsarManager.nack("nobody", []),
            PulsarManager.ack_cumulative("nobody", nil),
            PulsarManager.seek("nobody", :latest),
            PulsarManager.pause("nobody"),
            PulsarManager.resume("nobody"),
            PulsarManager.request("nobody", 1),
            PulsarManager.unsubscribe("nobody"),
            PulsarManager.start_gpu_processing("nobody", %{processing_type: "compute_operation"}),
            PulsarManager.stop_gpu_processing("nobody")
          ] do
        assert result == {:error, :consumer_not_found}
      end

      for result <- [
            PulsarManager.close("nobody"),
            PulsarManager.lookup("nobody"),
            PulsarManager.stats("nobody")
          ] do
        assert result == {:error, :not_found}
      end
    end
  end

  describe "arguments" do
    test "a keyword list in the place of a name is options" do
      assert {:error, {:invalid_option, :batch_size, 0, _}} =
               PulsarManager.create_producer("t", batch_size: 0)

      assert {:error, {:invalid_option, :flow, :x, _}} =
               PulsarManager.create_consumer("t", "s", flow: :x)

      assert {:error, {:invalid_option, :flow, :x, _}} =
               PulsarManager.create_consumer("t", "s", "n", flow: :x)
    end

    test "what is wrong is named before anything is asked of the broker" do
      for {result, key} <- [
            {PulsarManager.create_producer("t", "", []), :name},
            {PulsarManager.create_producer("t", :atom, []), :name},
            {PulsarManager.create_consumer([], "s"), :topics},
            {PulsarManager.create_consumer("t", nil), :subscription},
            {PulsarManager.create_consumer("t", "s", nil, :everyone), :sub_type},
            {PulsarManager.create_producer("t", owner: :nobody_has_this_name), :owner},
            {PulsarManager.create_producer("t", routing: {:partition, -1}), :routing}
          ] do
        assert {:error, {:invalid_option, ^key, _value, allowed}} = result
        assert is_binary(allowed)
      end
    end

    test "options of later versions are refused like any unknown one" do
      for option <- [schema: "x"],
          do:
            assert(
              {:error, {:invalid_option, :schema, "x", _}} =
                PulsarManager.create_producer("t", [option])
            )

      for key <- [:dead_letter, :retry, :ack_timeout, :schema],
          do:
            assert(
              {:error, {:invalid_option, ^key, 1, _}} =
                PulsarManager.create_consumer("t", "s", [{key, 1}])
            )
    end

    test "defaults of the documents" do
      assert {:ok, producer} = Creation.producer("t", nil, [])

      assert %{
               batch_size: 1000,
               compression: :lz4,
               max_pending_messages: 10_000,
               timeout: 30_000,
               owner: nil
             } = producer.options

      assert "producer_" <> uuid = producer.id
      assert byte_size(uuid) == 36

      assert {:ok, consumer} = Creation.consumer(["a", "a", "b"], "s", nil, "shared", [])
      assert %{initial_position: :latest, timeout: 30_000} = consumer.options
      assert %{sub_type: :shared, topics: ["a", "b"]} = consumer
      assert consumer.owner == self()
      assert "consumer_" <> _ = consumer.id
      assert {:ok, %{id: "named"}} = Creation.consumer("a", "s", "named", :exclusive, [])
    end
  end

  test "every public function is documented with an example" do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(PulsarManager)

    for {{:function, name, arity}, _, _, doc, _} <- docs do
      assert %{"en" => text} = doc, "#{name}/#{arity} has no documentation"

      if name != :child_spec,
        do: assert(text =~ "PulsarManager.#{name}", "#{name}/#{arity} has no example")
    end
  end

  test "the documentation of create_consumer names every option" do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(PulsarManager)
    {_, _, _, %{"en" => text}, _} = List.keyfind(docs, {:function, :create_consumer, 5}, 0)

    for {key, _} <- AMDGPUFramework.Messaging.Options.Consumer.schema(),
        do: assert(text =~ "`:#{key}`")
  end
end
