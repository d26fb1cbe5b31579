defmodule AMDGPUFramework.Messaging.Options do
  @moduledoc false
  # The one way options are declared, checked and documented. A schema is a keyword list,
  # `key: [type: …, default: …, doc: …]`; an option without a default has to be given.

  # The native side decodes them on a scheduler.
  @max_properties 1000

  @type type ::
          :boolean
          | :string
          | :process
          | :properties
          | :timestamp
          | {:integer, min :: integer, max :: integer | :infinity}
          | {:one_of, [atom]}
          | {:list, type}
          | {:nullable, type}
          | {:map, schema}
          | {:custom, (term -> {:ok, term} | :error | {:error, term}), allowed :: String.t()}
  @type schema :: [{atom, keyword}]

  @doc """
  Checks options, given as a keyword list or a map with atom or string keys, and completes them with defaults.

      iex> alias AMDGPUFramework.Messaging.Options
      iex> schema = [size: [type: {:integer, 1, 10}, default: 5, doc: "How many."]]
      iex> Options.validate(schema, %{"size" => 7})
      {:ok, %{size: 7}}
      iex> Options.validate(schema, [])
      {:ok, %{size: 5}}
      iex> Options.validate(schema, size: 0)
      {:error, {:invalid_option, :size, 0, "an integer from 1 to 10"}}
      iex> Options.validate(schema, sise: 1)
      {:error, {:invalid_option, :sise, 1, "unknown option; the options are :size"}}
  """
  @spec validate(schema, term) :: {:ok, map} | {:error, {:invalid_option, term, term, String.t()}}
  def validate(schema, given) do
    with {:ok, pairs} <- pairs(given),
         {:ok, checked} <- check_given(schema, pairs) do
      complete(schema, checked)
    end
  end

  @doc """
  Like `validate/2`, without defaults: only what was given.

      iex> schema = [key: [type: :string, default: nil, doc: "The key."], size: [type: {:integer, 0, :infinity}, default: 0, doc: ""]]
      iex> AMDGPUFramework.Messaging.Options.validate_given(schema, key: "k")
      {:ok, %{key: "k"}}
  """
  @spec validate_given(schema, term) :: {:ok, map} | {:error, tuple}
  def validate_given(schema, given) do
    with {:ok, pairs} <- pairs(given), do: check_given(schema, pairs)
  end

  @doc "The schema as a Markdown list, for the documentation of the function that takes it."
  @spec docs(schema) :: String.t()
  def docs(schema) do
    Enum.map_join(schema, "\n", fn {key, spec} ->
      "  * `:#{key}` - #{String.trim(spec[:doc])} #{constraint(spec)}#{default_text(spec)}"
    end)
  end

  @doc "What a type accepts, in the words of an error."
  @spec allowed(type) :: String.t()
  def allowed(:boolean), do: "true or false"
  def allowed(:string), do: "a string that is not empty"
  def allowed(:process), do: "a pid or the name of a running process of this node"

  def allowed(:properties),
    do: "a map of strings to strings, with at most #{@max_properties} entries"

  def allowed(:timestamp), do: "Unix milliseconds or a DateTime"
  def allowed({:integer, min, :infinity}), do: "an integer of at least #{min}"
  def allowed({:integer, min, max}), do: "an integer from #{min} to #{max}"
  def allowed({:one_of, atoms}), do: "one of #{Enum.map_join(atoms, ", ", &inspect/1)}"
  def allowed({:list, type}), do: "a list, each element #{allowed(type)}"
  def allowed({:nullable, type}), do: "nil or #{allowed(type)}"

  def allowed({:map, schema}),
    do: "a map or keyword list of #{Enum.map_join(schema, ", ", &inspect(elem(&1, 0)))}"

  def allowed({:custom, _cast, text}), do: text

  @doc "Checks one value and brings it into the form that is used."
  @spec cast(type, term) :: {:ok, term} | :error | {:error, term}
  def cast(:boolean, value) when is_boolean(value), do: {:ok, value}
  def cast(:string, value) when is_binary(value) and value != "", do: valid_utf8(value)

  # The native side delivers to processes of its own node.
  def cast(:process, value) when is_pid(value),
    do: if(node(value) == node(), do: {:ok, value}, else: :error)

  def cast(:process, value) when value != nil and (is_atom(value) or is_tuple(value)) do
    case whereis(value) do
      pid when is_pid(pid) and node(pid) == node() -> {:ok, pid}
      _ -> :error
    end
  end

  def cast(:properties, value) when is_struct(value), do: :error
  def cast(:properties, value) when is_map(value) or is_list(value), do: cast_properties(value)

  def cast(:timestamp, %DateTime{} = time),
    do: cast(:timestamp, DateTime.to_unix(time, :millisecond))

  def cast(:timestamp, value) when is_integer(value) and value >= 0, do: {:ok, value}

  # Every integer is below `:infinity`: numbers sort before atoms.
  def cast({:integer, min, max}, value) when is_integer(value) and value >= min and value <= max,
    do: {:ok, value}

  def cast({:one_of, atoms}, value) when is_atom(value) or is_binary(value) do
    case Enum.find(atoms, &(&1 == value or Atom.to_string(&1) == value)) do
      nil -> :error
      atom -> {:ok, atom}
    end
  end

  def cast({:list, type}, values) when is_list(values), do: cast_list(type, values, [])

  def cast({:nullable, _type}, nil), do: {:ok, nil}
  def cast({:nullable, type}, value), do: cast(type, value)

  def cast({:map, schema}, value) when is_map(value) or is_list(value),
    do: validate(schema, value)

  def cast({:custom, cast, _text}, value), do: cast.(value)
  def cast(_type, _value), do: :error

  defp pairs(%_{} = struct), do: struct |> Map.from_struct() |> pairs()
  defp pairs(given) when is_map(given), do: {:ok, Map.to_list(given)}

  defp pairs(given) do
    if Keyword.keyword?(given),
      do: {:ok, given},
      else: {:error, {:invalid_option, :options, given, "a keyword list or a map"}}
  end

  defp check_given(schema, pairs) do
    Enum.reduce_while(pairs, {:ok, %{}}, fn {given_key, value}, {:ok, checked} ->
      case check(schema, given_key, value) do
        {:ok, key, value} -> {:cont, {:ok, Map.put(checked, key, value)}}
        {:error, _} = error -> {:halt, error}
      end
    end)
  end

  defp check(schema, given_key, value) do
    case Enum.find(schema, fn {key, _} -> key == given_key or Atom.to_string(key) == given_key end) do
      nil ->
        keys = Enum.map_join(schema, ", ", fn {key, _} -> inspect(key) end)
        {:error, {:invalid_option, given_key, value, "unknown option; the options are #{keys}"}}

      {key, spec} ->
        check_value(key, spec, value)
    end
  end

  defp check_value(key, spec, value) do
    case cast(spec[:type], value) do
      {:ok, value} ->
        {:ok, key, value}

      :error ->
        shown = if spec[:secret], do: :hidden, else: value
        {:error, {:invalid_option, key, shown, allowed(spec[:type])}}

      {:error, {:invalid_option, inner, value, allowed}} ->
        {:error, {:invalid_option, [key | List.wrap(inner)], value, allowed}}

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp complete(schema, checked) do
    Enum.reduce_while(schema, {:ok, checked}, fn {key, spec}, {:ok, checked} ->
      case {checked, Keyword.fetch(spec, :default)} do
        {%{^key => _}, _} -> {:cont, {:ok, checked}}
        {_, {:ok, default}} -> {:cont, {:ok, Map.put(checked, key, default)}}
        {_, :error} -> {:halt, {:error, {:invalid_option, key, nil, allowed(spec[:type])}}}
      end
    end)
  end

  defp valid_utf8(value), do: if(String.valid?(value), do: {:ok, value}, else: :error)

  defp whereis(name) do
    GenServer.whereis(name)
  rescue
    # A tuple that is not a name.
    _ -> nil
  end

  defp cast_list(type, [value | rest], done) do
    case cast(type, value) do
      {:ok, value} -> cast_list(type, rest, [value | done])
      _ -> :error
    end
  end

  defp cast_list(_type, [], done), do: {:ok, Enum.reverse(done)}
  # The tail of a list that does not end in one.
  defp cast_list(_type, _tail, _done), do: :error

  defp cast_properties(value) when is_map(value), do: value |> Map.to_list() |> cast_properties()
  defp cast_properties(value), do: cast_properties(value, %{})

  defp cast_properties([{key, text} | rest], checked)
       when (is_binary(key) or is_atom(key)) and is_binary(text) do
    key = to_string(key)

    if String.valid?(key) and String.valid?(text),
      do: cast_properties(rest, Map.put(checked, key, text)),
      else: :error
  end

  defp cast_properties([], checked) when map_size(checked) <= @max_properties, do: {:ok, checked}
  defp cast_properties(_value, _checked), do: :error

  # A nested schema documents its own keys.
  defp constraint(spec) do
    case spec[:type] do
      {:map, schema} -> "Keys: " <> Enum.map_join(schema, "; ", &nested_text/1) <> "."
      type -> type |> allowed() |> capitalize() |> Kernel.<>(".")
    end
  end

  defp nested_text({key, spec}) do
    default = if Keyword.has_key?(spec, :default), do: ", default `#{inspect(spec[:default])}`"
    "`:#{key}` (#{String.trim_trailing(spec[:doc], ".")}; #{allowed(spec[:type])}#{default})"
  end

  defp capitalize(<<first::utf8, rest::binary>>), do: String.upcase(<<first::utf8>>) <> rest

  defp default_text(spec) do
    cond do
      text = spec[:default_doc] -> " Default: #{text}."
      not Keyword.has_key?(spec, :default) -> " Required."
      spec[:default] == nil -> ""
      true -> " Default: `#{inspect(spec[:default])}`."
    end
  end
end
