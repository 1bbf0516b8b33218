# The judge's side of the harness. It runs in a separate interpreter, which the program cannot reach. It calls the program's
# methods, receives the results as data, and compares them with the expected values here.
module Codeexec
  class ProgramEnded < Exception; end
  class AssertionFailed < StandardError; end

  # A handle of an object in the program's interpreter.
  class Remote < BasicObject
    def initialize(link, packed)
      @link = link
      @packed = packed
    end

    def __packed__ = @packed

    # An object of the program never equals plain data, whatever its `==` returns.
    def ==(other)
      return false unless ::Codeexec.remote?(other)

      @packed['id'] == other.__packed__['id'] || @link.send_to(@packed, '==', [other], {}, nil) == true
    end

    def !=(other) = !(self == other)

    def is_a?(kind) = ::Codeexec.remote?(kind) && @link.ask({ op: 'is', on: @packed, class: kind.__packed__ }) == true

    alias kind_of? is_a?
    alias instance_of? is_a?

    def ===(other) = ::Codeexec.remote?(other) && other.is_a?(self)

    def respond_to?(name, _ = false) = @link.ask({ op: 'respond', on: @packed, name: name.to_s }) == true

    def nil? = false

    def class = ::Codeexec::Remote

    def object_id = @packed['id']

    def hash = @packed['id'].hash

    def eql?(other) = self == other

    def to_s = @link.send_to(@packed, 'to_s', [], {}, nil).to_s

    def inspect = "#<#{@packed['c']} of the program>"

    def method_missing(name, *args, **keywords, &block) = @link.send_to(@packed, name.to_s, args, keywords, block)
  end

  def self.remote?(value) = Remote === value

  class Link
    attr_accessor :calls, :raised, :last, :last_name
    attr_reader :all

    def initialize(door)
      @door = door
      @own = {}
      @thrown = {}.compare_by_identity
      @handles = {}
      @calls = 0
      @all = 0
    end

    def keep(value)
      return value.__packed__ if Codeexec.remote?(value)
      raise TypeError, "the tests cannot pass #{value.class} objects of their own to the program" unless value.is_a?(Proc) || value.is_a?(Method)

      id = -1 - @own.size
      @own[id] = value
      { '$' => 'o', 'id' => id }
    end

    def find(packed)
      id = packed['id']
      return @own[id] if id < 0

      @handles[id] ||= Remote.new(self, { '$' => 'o', 'id' => id, 'c' => packed['c'].to_s, 'f' => packed['f'] == true })
    end

    def pack(value) = Codeexec.pack(value, method(:keep))

    def unpack(packed) = Codeexec.unpack(packed, method(:find))

    def exchange(request)
      @all += 1
      answer = @door.say('C' + Codeexec.json(request))
      loop do
        raise ProgramEnded, answer[1..] unless answer.start_with?('0')

        reply = Codeexec.parse(answer[1..])
        raise TypeError, 'not a reply' unless reply.is_a?(Hash)
        return reply unless reply.key?('callback')

        back = begin
          { result: pack(@own[reply['callback']].call(*unpack(reply['args']))) }
        rescue StandardError => e
          { thrown: e.message }
        end
        answer = @door.say('C' + Codeexec.json(back))
      end
    end

    def ask(request, args = nil)
      reply = exchange(request)
      raise error(reply['raised']) if reply['raised']

      unpack(reply['changed']).each_with_index { |now, i| Codeexec.update(args[i], now) } if args && reply['changed']
      unpack(reply['value'])
    end

    def message(args, keywords, block)
      request = { args: pack(args) }
      request[:kwargs] = pack(keywords.transform_keys(&:to_s)) unless keywords.empty?
      request[:block] = keep(block) if block
      request
    end

    def send_to(packed, name, args, keywords, block)
      @calls += 1
      @last_name = name
      ask({ op: 'send', on: packed, name: name }.merge(message(args, keywords, block)), args)
    end

    def call(name, args, keywords, block)
      @calls += 1
      @last_name = name
      @last = nil
      result = ask({ op: 'call', name: name }.merge(message(args, keywords, block)), args)
      @last = "#{name}(#{args.map(&:inspect).join(', ')}) returned #{result.inspect}"[0, 400]
      result
    end

    def error(raised)
      @raised = raised['traceback'].to_s
      kind = Array(raised['kinds']).lazy.filter_map { |name| Object.const_get(name.to_s) if Object.const_defined?(name.to_s) rescue nil }
        .find { |found| found.is_a?(Class) && found <= Exception } || StandardError
      error = kind.allocate
      error = (error.exception(raised['message'].to_s) rescue StandardError.new(raised['message'].to_s))
      @thrown[error] = true
      error
    end

    def of_program?(error) = error.is_a?(ProgramEnded) || @thrown.key?(error)
  end

  # Assertions with the names that they have in Minitest and Test::Unit, for the top level and for test cases.
  module Assertions
    def assert(value, message = nil)
      Codeexec.judge.checks += 1 unless value && Codeexec.judge.weak?
      raise AssertionFailed, (message || 'it is not true').to_s unless value

      true
    end

    def refute(value, message = nil) = assert(!value, message || 'it is true')
    def assert_equal(expected, got, message = nil) = assert(expected == got, message || "expected #{expected.inspect}, got #{got.inspect}")
    def refute_equal(other, got, message = nil) = assert(other != got, message || "got #{got.inspect}")
    def assert_same(expected, got, message = nil) = assert(expected.equal?(got), message || "got #{got.inspect}")
    def assert_match(pattern, got, message = nil) = assert(got.match?(pattern), message || "got #{got.inspect}")
    def assert_operator(a, operator, b, message = nil) = assert(a.public_send(operator, b), message || "#{a.inspect} #{operator} #{b.inspect}")
    def assert_kind_of(kind, got, message = nil) = assert(got.is_a?(kind), message || "got #{got.inspect}")
    def assert_respond_to(got, name, message = nil) = assert(got.respond_to?(name), message || "no #{name}")
    def refute_nil(got, message = nil) = assert(!got.nil?, message || 'it is nil')
    def refute_includes(list, item, message = nil) = assert(!list.include?(item), message || "#{item.inspect} is included")
    def refute_empty(list, message = nil) = assert(!list.empty?, message || 'it is empty')
    def assert_true(got, message = nil) = assert(got == true, message || "got #{got.inspect}")
    def assert_false(got, message = nil) = assert(got == false, message || "got #{got.inspect}")
    def flunk(message = 'it failed') = assert(false, message)
    def assert_nil(got, message = nil) = assert(got.nil?, message || "got #{got.inspect}")
    def assert_in_delta(expected, got, delta = 0.001, message = nil) = assert((expected - got).abs <= delta, message || "got #{got.inspect}")
    def assert_includes(list, item, message = nil) = assert(list.include?(item), message || "#{item.inspect} is not included")
    def assert_empty(list, message = nil) = assert(list.empty?, message || 'it is not empty')
    def assert_instance_of(kind, got, message = nil) = assert(got.instance_of?(kind), message || "got #{got.inspect}")

    def assert_raises(*kinds)
      kinds = [StandardError] if kinds.empty?
      begin
        yield
      rescue *kinds => e
        Codeexec.judge.checks += 1
        return e
      end
      assert(false, 'nothing was raised')
    end
    alias assert_raise assert_raises
  end

  class TestCase
    include Assertions
    def setup; end
    def teardown; end
    def self.inherited(kind) = (@@kinds ||= []) << kind
    def self.kinds = (@@kinds ||= [])

    def run_case(test)
      setup
      send(test)
    ensure
      teardown
    end
  end

  def self.judge = @judge

  def self.judge=(judge)
    @judge = judge
  end

  class Judge
    attr_accessor :checks

    def run
      Codeexec.judge = self
      @door = Door.new
      @link = link = Link.new(@door)
      @checks = 0
      @source = []
      @job = Codeexec.parse(@door.say('T'))
      define(link)
      @before = link.all
      setup = @job['setup'].to_s
      return if !setup.strip.empty? && !guarded('setup', silent: true) { TOPLEVEL_BINDING.eval(setup, 'setup.rb', 1) }

      case @job['kind']
      when 'asserts'
        @job['tests'].each { |text| entry(text, text) }
      when 'script' then script(@job['test'])
      else report(@job['kind'], TypeError.new('tests of this kind are for Python'))
      end
      report('tests', NotImplementedError.new(NOT_USED)) if @has_passed && !used?
      @door.say('E')
    end

    NOT_USED = 'the tests use nothing that the program defines, or never call it, so nothing was judged'
    NOTHING = 'no test was reached: no comparison was evaluated (an assertion), so nothing was judged'

    def script(text)
      entry(@job['entry_point'] ? "check(#{@job['entry_point']})" : 'tests', text)
    end

    # Runs a test source: statements, and the test classes and methods that it defines.
    def entry(name, text)
      known, methods = TestCase.kinds.size, Object.private_instance_methods(false)
      begin_counting
      judged = false
      @source = text.lines
      whole = lambda do
        value = watching { TOPLEVEL_BINDING.eval(text, 'tests.rb', 1) }
        is_list = @job['kind'] == 'asserts'
        raise AssertionFailed, 'it is false' if is_list && value == false

        # `require` returns true as well, so a true value counts only if the tests called the program.
        # A weak assertion returns true as well, so it must not count.
        is_true = is_list && value == true && @link.calls.positive? && !@has_weak
        judged = @checks.positive? || is_true || judges?(text)
      end
      return unless guarded(name, silent: true, &whole)

      cases = TestCase.kinds.drop(known).flat_map do |kind|
        kind.public_instance_methods(false).grep(/\Atest/).map { |test| [kind, test] }
      end
      functions = (Object.private_instance_methods(false) - methods).grep(/\Atest/)
      functions.reject! { |test| text.match?(/^#{test}\b/) || Object.instance_method(test).arity != 0 }
      report(name, NotImplementedError.new(NOTHING)) if !judged && cases.empty? && functions.empty?
      cases.each { |kind, test| one("#{kind}##{test}", text) { kind.new.run_case(test) } }
      functions.each { |test| one(test.to_s, text) { TOPLEVEL_BINDING.receiver.send(test) } }
      report(name, nil) if judged
    end

    def one(name, text)
      begin_counting
      guarded(name) do
        watching { yield }
        raise NotImplementedError, NOTHING unless @checks.positive? || judges?(text)
      end
    end

    # Runs a block. A failure that the tests raised themselves and rescued again fails the test.
    def watching
      swallowed = nil
      # A failed assertion that did not stop the test was swallowed by `ensure` or by `assert_raises`.
      trace = TracePoint.new(:rescue, :raise) do |point|
        error = point.raised_exception
        here = point.event == :raise ? error.is_a?(AssertionFailed) : point.path == 'tests.rb' && own?(error)
        swallowed ||= error if here
      end
      value = trace.enable(target_thread: nil) { yield }
      raise AssertionFailed, "the tests caught their own failure: #{swallowed.message}" if swallowed

      value
    end

    # Whether the program raised an exception inside an assertion or a condition of the tests: this is a failure.
    def in_assertion?(error)
      at = error.backtrace_locations&.find { |place| place.path == 'tests.rb' }
      line = at ? @source[at.lineno - 1] || '' : ''
      # That is so if every call of the method in that line is inside one.
      places = line.enum_for(:scan, /\b#{Regexp.escape(@link.last_name.to_s)}\b/).map { Regexp.last_match.pre_match }
      places.any? && places.all? { |before| before.match?(/\b(assert|refute|if|unless|elsif)\w*\b[^;]*\z/) }
    end

    # Whether the tests' current assertion judges nothing.
    def weak?
      at = caller_locations.find { |place| place.path == 'tests.rb' }
      is_weak = !at.nil? && Weak.line?(@source[at.lineno - 1] || '')
      @has_weak ||= is_weak
      is_weak
    end

    def own?(error)
      return in_assertion?(error) if @link.of_program?(error)
      return true if error.is_a?(AssertionFailed)

      at = error.backtrace_locations&.first
      !at.nil? && at.path == 'tests.rb' && (@source[at.lineno - 1] || '').match?(/\b(raise|fail)\b/)
    end

    # Whether the tests have called the program, or name data of the program: to name data counts as use.
    def used?
      return true if @link.all > @before

      names = @job['names'] || {}
      defined = names['locals'].to_a + names['constants'].to_h.reject { |_, kinds| kinds }.keys
      texts = [@job['setup'], @job['test'], *@job['tests']].join("\n")
      defined.any? { |name| texts.match?(/(?<![\w])#{Regexp.escape(name.to_s)}(?![\w])/) }
    end

    def begin_counting
      @checks = 0
      @has_weak = false
      @link.calls = 0
    end

    # Whether tests without assertions have judged: they called the program, and report a failure by an exception or an exit.
    def judges?(text) = @link.calls.positive? && text.match?(/\b(raise|fail|abort|exit|throw)\b/)

    # Runs one test and reports it, a success only if not `silent`; returns whether it passed.
    def guarded(name, silent: false)
      @link.raised = @link.last = nil
      begin
        yield
      rescue Exception => e
        raise if e.is_a?(SystemExit)

        report(name, e)
        return false
      end
      report(name, nil) unless silent
      true
    end

    def report(name, error)
      @has_passed ||= error.nil?
      result = { name: name.to_s[0, 300], passed: error.nil?, message: '', kind: 'passed' }
      if error
        of_program = @link.of_program?(error)
        # An exception that a test raises means a wrong result. An error that Ruby raises means that the test could not run.
        broken = of_program || error.is_a?(NameError) || error.is_a?(ScriptError) || !error.is_a?(StandardError)
        text = error.is_a?(AssertionFailed) ? error.message : "#{error.class}: #{error.message}"
        result[:message] = [text, of_program ? nil : @link.last].compact.join('; ').scrub[0, 4000]
        result[:kind] = error.is_a?(NoMemoryError) ? 'memory' : broken ? 'error' : 'failed'
        result[:traceback] = @link.raised if of_program && @link.raised
      end
      @link.raised = @link.last = nil
      @door.say('D' + Codeexec.json(result))
    end

    # Defines stand-ins for the names that the program defines. Definitions of the tests replace them.
    def define(link)
      names = @job['names'] || {}
      Object.include(Assertions)
      names['methods'].to_a.each do |name|
        Object.send(:define_method, name) { |*args, **keywords, &block| link.call(name, args, keywords, block) }
        Object.send(:private, name)
      end
      names['locals'].to_a.each do |name|
        TOPLEVEL_BINDING.local_variable_set(name, link.ask({ op: 'local', name: name }))
      end
      names['constants'].to_h.each do |name, kinds|
        next if Object.const_defined?(name)

        if kinds
          base = kinds.drop(1).filter_map { |kind| Object.const_get(kind) if Object.const_defined?(kind) }.first || StandardError
          Object.const_set(name, Class.new(base))
        else
          Object.const_set(name, link.ask({ op: 'constant', name: name }))
        end
      end
    end
  end
end

module Minitest
  Test = Codeexec::TestCase
end

module Test
  module Unit
    TestCase = Codeexec::TestCase
  end
end
