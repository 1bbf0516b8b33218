# The program's side of the harness. The judge does not trust it: it only runs the program and transfers values.
module Codeexec
  class Program
    def initialize(main)
      @main = main
      @objects = {}
      @numbers = {}.compare_by_identity
      @before = Object.constants
      @methods = Object.private_instance_methods(false)
    end

    def keep(value)
      id = @numbers[value] ||= begin
        @objects[@objects.size + 1] = value
        @objects.size
      end
      { '$' => 'o', 'id' => id, 'c' => (value.is_a?(Module) ? value.name : value.class.name).to_s, 'f' => value.is_a?(Proc) }
    end

    def find(packed)
      id = packed['id']
      return @objects[id] if id > 0

      # A function of the judge: calling it sends a callback message to the judge.
      proc do |*args|
        @door.say('R' + Codeexec.json({ callback: id, args: pack(args) }))
        loop do
          ask = Codeexec.parse(@door.say('N'))
          break unpack(ask['result']) if ask.key?('result')
          raise ask['thrown'].to_s if ask.key?('thrown')

          @door.say('R' + Codeexec.json(answer(ask)))
        end
      end
    end

    def pack(value) = Codeexec.pack(value, method(:keep))

    def unpack(packed) = Codeexec.unpack(packed, method(:find))

    def failure(error)
      lines = (error.backtrace || []).reject { |line| line.include?('codeexec.rb') }
      text = error.message.to_s.dup.force_encoding('UTF-8').scrub
      kinds = error.class.ancestors.grep(Class).map(&:name).compact
      { class: kinds[0] || 'Exception', kinds: kinds, message: text[0, 2000],
        traceback: "#{kinds[0]}: #{text}\n#{lines.first(40).map { |line| "    from #{line}\n" }.join}" }
    end

    def run
      @door = Door.new
      job = Codeexec.parse(@door.say('P'))
      begin
        TOPLEVEL_BINDING.eval(job['code'], 'program.rb', 1)
      rescue Exception => e
        raise if e.is_a?(SystemExit)

        @door.say('L' + Codeexec.json({ raised: failure(e) }))
        return
      end
      @door.say('L' + Codeexec.json({ loaded: names }))
      while (text = @door.say('N')) != ''
        @door.say('R' + Codeexec.json(answer(Codeexec.parse(text))))
      end
    end

    # The methods, top-level variables and constants that the program defines, for the judge's stand-ins.
    def names
      methods = Object.private_instance_methods(false) - @methods + @main.singleton_methods(false)
      locals = TOPLEVEL_BINDING.local_variables
      constants = (Object.constants - @before).to_h do |name|
        value = Object.const_get(name)
        [name, value.is_a?(Class) && value <= Exception ? value.ancestors.grep(Class).map(&:name).compact : nil]
      end
      { methods: methods, locals: locals, constants: constants }
    end

    def answer(ask)
      args = unpack(ask['args'] || [])
      keywords = unpack(ask['kwargs'] || { '$' => 'd', 'v' => [] }).transform_keys(&:to_sym)
      block = ask['block'] && find(ask['block'])
      before = Codeexec.json(pack(args))
      value =
        case ask['op']
        when 'call' then @main.send(ask['name'], *args, **keywords, &block)
        when 'send' then find(ask['on']).public_send(ask['name'], *args, **keywords, &block)
        when 'respond' then find(ask['on']).respond_to?(ask['name'])
        when 'is' then find(ask['on']).is_a?(find(ask['class']))
        when 'constant' then return { value: keep_module(Object.const_get(ask['name'])) }
        when 'local' then TOPLEVEL_BINDING.local_variable_get(ask['name'])
        else raise ArgumentError, 'an unknown request'
        end
      after = pack(args)
      { value: pack(value), changed: Codeexec.json(after) == before ? nil : after }
    rescue Exception => e
      raise if e.is_a?(SystemExit)

      { raised: failure(e) }
    end

    def keep_module(value) = value.is_a?(Module) ? keep(value) : pack(value)
  end
end
