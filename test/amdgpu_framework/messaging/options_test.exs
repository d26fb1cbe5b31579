defmodule AMDGPUFramework.Messaging.OptionsTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.Options

  @schema [
    size: [type: {:integer, 1, 10}, default: 5, doc: "How many."],
    mode: [type: {:one_of, [:fast, :slow]}, default: :fast, doc: "How."],
    at: [type: {:nullable, :timestamp}, default: nil, doc: "When."],
    labels: [type: :properties, default: %{}, doc: "Labels."],
    who: [type: {:nullable, :process}, default: nil, doc: "Who."],
    ids: [type: {:list, {:integer, 0, 3}}, default: [], doc: "Which."],
    inner: [
      type: {:map, [flag: [type: :boolean, default: true, doc: "A flag."]]},
      default: %{},
      doc: "More."
    ],
    secret: [type: :string, default: nil, secret: true, doc: "Hidden."]
  ]

  test "defaults complete what is given, from keywords and maps with either kind of keys" do
    for given <- [[size: 7], %{size: 7}, %{"size" => 7}] do
      assert {:ok, %{size: 7, mode: :fast, ids: []}} = Options.validate(@schema, given)
    end
  end

  test "an option without a default is required" do
    schema = [name: [type: :string, doc: "The name."]]
    assert {:error, {:invalid_option, :name, nil, allowed}} = Options.validate(schema, [])
    assert allowed =~ "string"
  end

  test "names are atoms or their strings" do
    assert {:ok, %{mode: :slow}} = Options.validate(@schema, mode: "slow")

    assert {:error, {:invalid_option, :mode, "medium", "one of :fast, :slow"}} =
             Options.validate(@schema, mode: "medium")
  end

  test "a value out of range is refused with key, value and what is allowed" do
    for bad <- [0, 11, 1.0, "5", nil] do
      assert {:error, {:invalid_option, :size, ^bad, "an integer from 1 to 10"}} =
               Options.validate(@schema, size: bad)
    end
  end

  test "an infinite range has no upper bound" do
    assert {:ok, big} = Options.cast({:integer, 0, :infinity}, 1_000_000_000_000_000_000_000)
    assert is_integer(big)
    assert :error = Options.cast({:integer, 0, :infinity}, -1)
  end

  test "unknown keys are refused, naming those that exist" do
    assert {:error, {:invalid_option, "sice", 1, allowed}} =
             Options.validate(@schema, %{"sice" => 1})

    assert allowed =~ ":size"
    assert allowed =~ ":mode"
  end

  test "no atom is made of an unknown string key" do
    key = "never_an_atom_#{System.unique_integer([:positive])}"
    assert {:error, {:invalid_option, ^key, 1, _}} = Options.validate(@schema, %{key => 1})
    assert_raise ArgumentError, fn -> String.to_existing_atom(key) end
  end

  test "nested options give the path to the wrong one" do
    assert {:ok, %{inner: %{flag: false}}} = Options.validate(@schema, inner: [flag: false])

    assert {:error, {:invalid_option, [:inner, :flag], "no", "true or false"}} =
             Options.validate(@schema, inner: %{flag: "no"})
  end

  test "a secret value is not repeated in the error" do
    assert {:error, {:invalid_option, :secret, :hidden, _}} =
             Options.validate(@schema, secret: 42)
  end

  test "times are milliseconds or a DateTime" do
    time = ~U[2024-01-01 00:00:00.500Z]
    milliseconds = DateTime.to_unix(time, :millisecond)
    assert {:ok, %{at: ^milliseconds}} = Options.validate(@schema, at: time)
    assert {:error, {:invalid_option, :at, -1, _}} = Options.validate(@schema, at: -1)
  end

  test "properties are strings; their names may be atoms" do
    assert {:ok, %{labels: %{"a" => "1", "b" => "2"}}} =
             Options.validate(@schema, labels: %{:a => "1", "b" => "2"})

    for bad <- [%{a: 1}, ["x"], "a", DateTime.utc_now()] do
      assert {:error, {:invalid_option, :labels, ^bad, _}} =
               Options.validate(@schema, labels: bad)
    end
  end

  test "a process is a pid or a name that is registered" do
    me = self()
    assert {:ok, %{who: ^me}} = Options.validate(@schema, who: self())
    assert {:ok, %{who: pid}} = Options.validate(@schema, who: :code_server)
    assert pid == Process.whereis(:code_server)

    for bad <- [:nobody_has_this_name, {:not, :a, :name, 1}, "name"] do
      assert {:error, {:invalid_option, :who, ^bad, _}} = Options.validate(@schema, who: bad)
    end
  end

  test "lists are checked element by element" do
    assert {:ok, %{ids: [0, 3]}} = Options.validate(@schema, ids: [0, 3])
    assert {:error, {:invalid_option, :ids, [4], _}} = Options.validate(@schema, ids: [4])
  end

  test "what is no option list at all" do
    for bad <- [1, "size", [1, 2], [:size], nil] do
      assert {:error, {:invalid_option, :options, ^bad, "a keyword list or a map"}} =
               Options.validate(@schema, bad)
    end
  end

  test "the documentation names every option, what it accepts and its default" do
    docs = Options.docs(@schema)
    for {key, _} <- @schema, do: assert(docs =~ "`:#{key}`")
    assert docs =~ "An integer from 1 to 10. Default: `5`."
    assert docs =~ "`:flag` (A flag; true or false, default `true`)"
  end

  test "every default of the real schemas passes its own check" do
    for module <- [
          Options.Producer,
          Options.Consumer,
          Options.Cluster,
          Options.GpuProcessing,
          Options.Send
        ],
        {key, spec} <- module.schema(),
        Keyword.has_key?(spec, :default) do
      assert {:ok, _} = Options.cast(spec[:type], spec[:default]), "#{inspect(module)}: #{key}"
    end
  end
end
