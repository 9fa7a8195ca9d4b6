// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Holdings} from "../../src/Holdings.sol";

/// Five accounts whose controllers never change: `left` controls `leftChild`, `right` controls `rightChild`.
contract Tree {
    address internal constant LEFT = address(0x1001);
    address internal constant LEFT_CHILD = address(0x1002);
    address internal constant RIGHT = address(0x2001);
    address internal constant RIGHT_CHILD = address(0x2002);
    address internal constant OTHER = address(0x3001);

    function pathOf(address account) external pure returns (address[] memory path) {
        address root = _rootOf(account);
        path = new address[](account == root ? 1 : 2);
        (path[0], path[path.length - 1]) = (account, root);
    }

    function _rootOf(address account) internal pure returns (address) {
        if (account == LEFT_CHILD) return LEFT;
        if (account == RIGHT_CHILD) return RIGHT;
        return account;
    }
}

/// The limits for all inputs at once, not for samples: `make contracts-symbolic`. The code divides where the rule
/// multiplies; the share is a constant, since no solver gets through a product of two unknowns.
/// Source: Vault V2's RelativeCaps.spec states the same of its caps: no function breaks one, but those that are named.
contract LimitsTest is Holdings, Tree {
    uint256 private constant CLASS = 1;
    uint16 private constant SHARE = 2_500; // of 10,000

    constructor() Holdings(address(this)) {}

    /// `held <= most` is `held * 10_000 <= base * holdBps`, at the shares that the bounds and the tests have.
    function check_theLimitIsTheRuleWithoutDivision(uint64 total, uint64 held) external {
        _checkRule(total, held, SHARE);
    }

    function check_theLimitIsTheRuleAtTheLeastShare(uint64 total, uint64 held) external {
        _checkRule(total, held, 100);
    }

    function check_theLimitIsTheRuleAtTheLargestShare(uint64 total, uint64 held) external {
        _checkRule(total, held, 5_000);
    }

    /// The smaller of the totals now and as the block began, and no less than the floor.
    function check_theBaseIsTheSmallerTotalOrTheFloor(uint64 total, uint64 start, uint48 block_, uint64 floor)
        external
    {
        _classes[CLASS].count = Count(total, start, block_, SHARE, floor);
        (uint256 base,) = _limit(CLASS);
        uint256 smaller = block_ == block.number && start < total ? start : total;
        assert(base == (smaller < floor ? floor : smaller));
    }

    /// Between two groups: it fails when, and only when, the receiver's group would be above. How much the sender's group
    /// has, above the limit or below, changes nothing.
    function check_transferEndsWithinTheLimit(uint64 total, uint64 from, uint64 to, uint64 units) external {
        _begin(total, from, to, units);
        uint256 after_ = uint256(to) + units;
        try this.move(LEFT, RIGHT, LEFT, RIGHT, units) {
            assert(after_ * 10_000 <= uint256(total) * SHARE);
            assert(_held[CLASS][LEFT] == from - units);
            assert(_held[CLASS][RIGHT] == after_);
        } catch {
            assert(after_ * 10_000 > uint256(total) * SHARE);
        }
    }

    /// From what is controlled on one side to what is controlled on the other: both roots count it.
    function check_transferBelowTwoRoots(uint64 total, uint64 from, uint64 to, uint64 units) external {
        _begin(total, from, to, units);
        (_held[CLASS][LEFT_CHILD], _held[CLASS][RIGHT_CHILD]) = (units, to);
        uint256 after_ = uint256(to) + units;
        try this.move(LEFT_CHILD, RIGHT_CHILD, LEFT, RIGHT, units) {
            assert(after_ * 10_000 <= uint256(total) * SHARE);
            assert(_held[CLASS][LEFT] == from - units && _held[CLASS][LEFT_CHILD] == 0);
            assert(_held[CLASS][RIGHT] == after_ && _held[CLASS][RIGHT_CHILD] == after_);
        } catch {
            assert(after_ * 10_000 > uint256(total) * SHARE);
        }
    }

    /// Inside a group nothing fails and the root's total stays, also far above the limit.
    function check_transferInsideAGroupNeverFails(uint64 total, uint64 from, uint64 child, uint64 units) external {
        _begin(total, from, 0, units);
        if (child > from || units > from - child) return; // the root's own part pays
        _held[CLASS][LEFT_CHILD] = child;
        try this.move(LEFT, LEFT_CHILD, LEFT, LEFT, units) {
            assert(_held[CLASS][LEFT] == from);
            assert(_held[CLASS][LEFT_CHILD] == uint256(child) + units);
        } catch {
            assert(false);
        }
    }

    /// Two groups before, and after; who has nothing to do with it keeps what it has.
    function check_transferConserves(uint64 total, uint64 from, uint64 to, uint64 units, uint64 other) external {
        _begin(total, from, to, units);
        _held[CLASS][OTHER] = other;
        this.move(LEFT, RIGHT, LEFT, RIGHT, units);
        assert(_held[CLASS][LEFT] + _held[CLASS][RIGHT] == uint256(from) + to);
        assert(_held[CLASS][OTHER] == other);
    }

    /// A join never fails, and counts all of both.
    function check_joinConserves(uint64 total, uint64 from, uint64 to) external {
        _begin(total, from, to, 0);
        _classIds.push("class");
        try this.join(LEFT, RIGHT) {
            assert(_held[CLASS][RIGHT] == uint256(from) + to);
            assert(_held[CLASS][LEFT] == from); // what it takes along if it leaves again
        } catch {
            assert(false);
        }
    }

    /// `used <= most` is `used * 10^10 <= base * windowSeconds * useBps`: the form in Uses, which is private there.
    function check_theUseLimitIsTheRuleWithoutDivision(uint64 base, uint64 used) external pure {
        uint256 rule = uint256(base) * 1 weeks * 2_000;
        uint256 most = rule / (1e6 * 10_000);
        assert((used <= most) == (uint256(used) * 1e10 <= rule));
    }

    function move(address from, address to, address fromRoot, address toRoot, uint256 units) external {
        _move(CLASS, from, to, fromRoot, toRoot, units);
    }

    function join(address oldRoot, address newRoot) external {
        _mergeTotals(oldRoot, newRoot);
    }

    function _checkRule(uint64 total, uint64 held, uint16 share) private {
        _classes[CLASS].count = Count(total, 0, 0, share, 0);
        (uint256 base, uint256 most) = _limit(CLASS);
        assert(base == total);
        assert((held <= most) == (uint256(held) * 10_000 <= uint256(total) * share));
    }

    /// What `_carry` has made sure of: the sender has the units, and all that exists stays below 2^63.
    function _begin(uint64 total, uint64 from, uint64 to, uint64 units) private {
        // A path that reverts here says nothing: the checker looks for assertions that fail.
        require(units <= from && uint256(from) + to < TOTAL_END, "assumed away");
        _classes[CLASS].count = Count(total, 0, 0, SHARE, 0);
        (_held[CLASS][LEFT], _held[CLASS][RIGHT]) = (from, to);
    }
}
