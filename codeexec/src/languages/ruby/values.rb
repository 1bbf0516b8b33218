# Encodes the values that the program's interpreter and the judge's exchange as JSON text (see packed.rs). Additional tags: `r`
# Range (first, last, whether the end is excluded), `q` Rational and `c` Complex (two numbers). An object that is not data is
# sent as a handle: `id`, `c` its class, `f` whether it is a Proc.
require 'json'
require 'set'

module Codeexec
  INTEGERS = (-(2**63)...2**63)

  def self.pack(value, keep, depth = 0)
    down = ->(item) { pack(item, keep, depth + 1) }
    case value
    when nil, true, false then value
    when Integer then INTEGERS.cover?(value) ? value : { '$' => 'i', 'v' => value.to_s }
    when Float then { '$' => value.finite? && !(value.zero? && 1 / value < 0) ? 'f' : 'n', 'v' => value.to_s }
    when Symbol then { '$' => 'y', 'v' => value.to_s }
    when Rational then { '$' => 'q', 'v' => [down.(value.numerator), down.(value.denominator)] }
    when Complex then { '$' => 'c', 'v' => [down.(value.real), down.(value.imaginary)] }
    else
      return keep.call(value) if depth > 200
      if value.instance_of?(String)
        text = value.encoding == Encoding::UTF_8 ? value : value.dup.force_encoding('UTF-8')
        text.valid_encoding? ? text : { '$' => 'b', 'v' => [value].pack('m0') }
      elsif value.instance_of?(Array) then value.map(&down)
      elsif value.instance_of?(Hash) then { '$' => 'd', 'v' => value.map { |k, v| [down.(k), down.(v)] } }
      elsif value.instance_of?(Set) then { '$' => 's', 'v' => value.map(&down) }
      elsif value.instance_of?(Range) then { '$' => 'r', 'v' => [down.(value.begin), down.(value.end), value.exclude_end?] }
      else keep.call(value)
      end
    end
  end

  def self.unpack(packed, find)
    return packed.map { |item| unpack(item, find) } if packed.instance_of?(Array)
    return packed unless packed.instance_of?(Hash)

    items = -> { packed['v'].map { |item| unpack(item, find) } }
    case packed['$']
    when 'i' then Integer(packed['v'])
    when 'f' then Float(packed['v'])
    when 'n' then { 'NaN' => Float::NAN, 'Infinity' => Float::INFINITY, '-Infinity' => -Float::INFINITY }[packed['v']] || -0.0
    when 'y' then packed['v'].to_sym
    when 'q' then Rational(*items.call)
    when 'c' then Complex(*items.call)
    when 'b' then packed['v'].unpack1('m0')
    when 'd' then items.call.to_h
    when 's' then items.call.to_set
    when 'r' then Range.new(*items.call)
    when 'o' then find.call(packed)
    else raise TypeError, 'an unknown tag'
    end
  end

  def self.json(value) = JSON.generate(value, max_nesting: 0)

  def self.parse(text) = JSON.parse(text, max_nesting: 0)

  # Copies the content of `now` into `old`: an argument that a call in the other interpreter has changed.
  def self.update(old, now)
    return unless old.class == now.class && !old.frozen?
    old.replace(now) if [Array, Hash, String, Set].include?(old.class) && old != now
  end

  # The channel to the host: writes a message as one line, and reads the answer as one line.
  class Door
    def initialize
      @in = File.open('/dev/door', 'rb')
      @out = File.open('/dev/door', 'wb')
      @out.sync = true
    end

    def say(message)
      $stdout.flush
      @out.write(message.b + "\n")
      @in.gets.to_s.chomp.force_encoding('UTF-8')
    end
  end
end
