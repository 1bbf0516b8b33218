# Finds assertions whose result does not depend on the program. Such assertions judge nothing and are not counted.
module Codeexec
  module Weak
    WORDS = %w[true false nil].freeze

    # Whether a line has assertions and all of them judge nothing.
    def self.line?(line)
      found = line.enum_for(:scan, /\b(assert\w*)(\s*\(|\s+)/).map { Regexp.last_match }
      found.any? && found.all? { |match| nothing?(match[1], parts(line, match.end(0))) }
    end

    # The arguments from the index `from` on, up to the closing bracket or the end of the statement.
    def self.parts(line, from)
      parts = [+'']
      depth = 0
      quote = nil
      line[from..].each_char do |c|
        if quote
          quote = nil if c == quote
        elsif %w[' "].include?(c)
          quote = c
        elsif '([{'.include?(c)
          depth += 1
        elsif ')]}'.include?(c)
          break if depth.zero?

          depth -= 1
        elsif depth.zero? && (c == ';' || c == "\n")
          break
        elsif depth.zero? && c == ','
          parts << +''
          next
        end
        parts.last << c
      end
      parts.map(&:strip)
    end

    def self.nothing?(name, parts)
      return false if parts.first.to_s.empty?
      return always?(parts[0]) if %w[assert assert_true].include?(name)

      pair = %w[assert_equal assert_same assert_in_delta].include?(name) && parts.size > 1
      return parts.all? { |part| fixed?(part) } unless pair

      parts[0] == parts[1] || fixed?(parts[0]) && fixed?(parts[1])
    end

    # Whether an expression has no names, so that it is the same in every run.
    def self.fixed?(part)
      plain = part.gsub(/"[^"#]*"|'[^']*'|:\w+/, '0')
      plain.scan(/[A-Za-z_]\w*/).all? { |word| WORDS.include?(word) }
    end

    # Whether an asserted expression does not depend on the program: a constant, a list, a function, `... || true`.
    def self.always?(part)
      fixed?(part) || part.match?(/\|\|\s*(true|1)\z|\bor\s+true\z|\A(true|1)\s*\|\|/) || part.match?(/\A(->|lambda\b|proc\b)/) ||
        list?(part)
    end

    # Whether an expression is one list in brackets.
    def self.list?(part)
      return false unless part.start_with?('[')

      depth = 0
      part.each_char.with_index do |c, i|
        depth += 1 if c == '['
        depth -= 1 if c == ']'
        return i == part.size - 1 if depth.zero?
      end
      false
    end
  end
end
