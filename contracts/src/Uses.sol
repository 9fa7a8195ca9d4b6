// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Wiring} from "./Wiring.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {System} from "./interfaces/Types.sol";

/// @title Uses: how many seconds one group may use of what
/// @notice The part of Access that knows classes and windows, and neither credits nor leases. Totals are kept for every
/// node of the tree of controllers: what the account and all that it controls have acquired, and redeemed.
abstract contract Uses is IAccess {
    using SafeCast for uint256;

    /// Both in the slot that `merge` moves.
    struct Use {
        uint128 acquired;
        uint128 redeemed;
    }

    uint256 internal constant UNIT = 1e6; // one unit in the ledger's decimals
    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_WINDOW = 1e6; // seconds; at most, credits of a window stay below 2^63 as units do
    // Pairs of class and window that one merge visits; at 26,400 gas each it stays at half of what EIP-7825 lets a
    // transaction use, so that a group cannot escape being joined to another by acquiring everywhere.
    uint256 private constant MAX_MERGED = 256;

    /// @inheritdoc IAccess
    uint32 public immutable windowSeconds;
    /// @inheritdoc IAccess
    uint32 public immutable horizon;
    /// @inheritdoc IAccess
    address public immutable token;
    /// @inheritdoc IAccess
    address public immutable members;
    /// @inheritdoc IAccess
    address public immutable ledger;
    /// @inheritdoc IAccess
    address public immutable meter;

    mapping(bytes32 classId => mapping(uint32 window => mapping(address account => Use))) private _use;

    constructor(uint32 windowSeconds_, uint32 horizon_, System memory system) {
        Wiring.check(system, system.access);
        // Classes are added later: what counts is how many there will ever be.
        uint256 classes = ILedger(system.ledger).maxClasses();
        if (windowSeconds_ == 0 || windowSeconds_ > MAX_WINDOW || classes * (uint256(horizon_) + 1) > MAX_MERGED) {
            revert BadWindows(windowSeconds_, horizon_, classes);
        }
        windowSeconds = windowSeconds_;
        horizon = horizon_;
        token = system.token;
        members = system.members;
        ledger = system.ledger;
        meter = system.meter;
    }

    /// @inheritdoc IAccess
    function merge(address oldRoot, address newRoot) external {
        _onlyMembers();

        // No limit is looked at: joining a group must never fail because of one. `oldRoot` keeps its own total.
        bytes32[] memory classIds = ILedger(ledger).classIds();
        uint32 first = currentWindow();
        for (uint256 i; i < classIds.length; ++i) {
            for (uint32 window = first; window <= first + horizon; ++window) {
                mapping(address account => Use) storage use = _use[classIds[i]][window];
                Use memory joined = use[oldRoot];
                if (joined.acquired == 0) continue; // and so is what was redeemed

                use[newRoot].acquired += joined.acquired;
                use[newRoot].redeemed += joined.redeemed;
            }
        }
    }

    /// @inheritdoc IAccess
    function detach(address member, address[] calldata controllers) external {
        _onlyMembers();

        bytes32[] memory classIds = ILedger(ledger).classIds();
        uint32 first = currentWindow();
        for (uint256 i; i < classIds.length; ++i) {
            for (uint32 window = first; window <= first + horizon; ++window) {
                mapping(address account => Use) storage use = _use[classIds[i]][window];
                Use memory left = use[member];
                if (left.acquired == 0) continue;

                for (uint256 j; j < controllers.length; ++j) {
                    use[controllers[j]].acquired -= left.acquired;
                    use[controllers[j]].redeemed -= left.redeemed;
                }
            }
        }
    }

    /// @inheritdoc IAccess
    function replace(address member, address successor) external {
        _onlyMembers();

        bytes32[] memory classIds = ILedger(ledger).classIds();
        uint32 first = currentWindow();
        for (uint256 i; i < classIds.length; ++i) {
            for (uint32 window = first; window <= first + horizon; ++window) {
                mapping(address account => Use) storage use = _use[classIds[i]][window];
                Use memory total = use[member];
                // The successor never was a member: it has nothing of its own.
                if (total.acquired != 0) use[successor] = total;
            }
        }
    }

    /// @inheritdoc IAccess
    function acquiredBy(bytes32 classId, uint32 window, address account) external view returns (uint256) {
        return _use[classId][window][account].acquired;
    }

    /// @inheritdoc IAccess
    function redeemedBy(bytes32 classId, uint32 window, address account) external view returns (uint256) {
        return _use[classId][window][account].redeemed;
    }

    /// @inheritdoc IAccess
    function useHeadroom(bytes32 classId, uint32 window, address account) external view returns (uint256) {
        if (window < currentWindow() || ILedger(ledger).isOver(classId, account)) return 0;
        address root = IMembers(members).rootOf(account);
        return Math.saturatingSub(_most(classId), _use[classId][window][root].acquired);
    }

    /// @inheritdoc IAccess
    function currentWindow() public view returns (uint32) {
        return uint32(block.timestamp / windowSeconds);
    }

    /// Moves acquired seconds from one account to another, and from nobody when they are new. The totals above both stay.
    function _moveAcquired(bytes32 classId, uint32 window, address from, address to, uint256 amount) internal {
        uint128 moved = amount.toUint128();
        mapping(address account => Use) storage use = _use[classId][window];
        (address[] memory lost, address[] memory won) = (_pathOf(from), _pathOf(to));
        (uint256 losing, uint256 winning) = (lost.length, won.length);
        for (; losing > 0 && winning > 0 && lost[losing - 1] == won[winning - 1]; --losing) {
            --winning;
        }
        for (uint256 i; i < losing; ++i) {
            use[lost[i]].acquired -= moved;
        }
        for (uint256 i; i < winning; ++i) {
            use[won[i]].acquired += moved;
        }
    }

    /// Counts redeemed seconds of `holder`, and refuses what its group may not use: after a merge a group may hold
    /// credits above its limit, which it can only give away.
    function _countRedeemed(bytes32 classId, uint32 window, address holder, uint64 amount) internal {
        mapping(address account => Use) storage use = _use[classId][window];
        address[] memory path = _pathOf(holder);
        for (uint256 i; i < path.length; ++i) {
            use[path[i]].redeemed += amount;
        }
        address root = path[path.length - 1];
        _checkUse(classId, window, root, use[root].redeemed);
    }

    /// Redeemed seconds of a replaced member are its successor's, who stands above it and counts them already.
    function _recoverRedeemed(bytes32 classId, uint32 window, address member, uint64 amount) internal {
        Use storage use = _use[classId][window][member];
        use.acquired -= amount;
        use.redeemed -= amount;
    }

    /// What every increase of a group ends with.
    function _checkAcquired(bytes32 classId, uint32 window, address root) internal view {
        if (ILedger(ledger).isOver(classId, root)) revert HoldsOverLimit(classId, root);
        _checkUse(classId, window, root, _use[classId][window][root].acquired);
    }

    /// Present or future, no further than the horizon: `merge` visits no other window.
    function _checkWindow(uint32 window) internal view {
        uint32 first = currentWindow();
        if (window < first || window > first + horizon) revert WindowNotOpen(window, first, first + horizon);
    }

    function _endOf(uint32 window) internal view returns (uint256) {
        return (uint256(window) + 1) * windowSeconds;
    }

    function _checkUse(bytes32 classId, uint32 window, address root, uint256 used) private view {
        uint256 most = _most(classId);
        if (used > most) revert OverUseLimit(classId, window, root, used, most);
    }

    /// The most seconds that one group may acquire: `used <= most` is
    /// `used * UNIT * BPS <= capBase * windowSeconds * useBps`.
    function _most(bytes32 classId) private view returns (uint256) {
        uint256 useBps = ILedger(ledger).classOf(classId).useBps;
        return ILedger(ledger).capBase(classId) * windowSeconds * useBps / (UNIT * BPS);
    }

    function _pathOf(address account) private view returns (address[] memory path) {
        if (account != address(0)) path = IMembers(members).pathOf(account);
    }

    function _onlyMembers() private view {
        if (msg.sender != members) revert OnlyMembers(msg.sender);
    }
}
