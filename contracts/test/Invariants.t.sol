// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Test} from "forge-std/Test.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {Base} from "./Base.t.sol";

/// Does what people do, within what is allowed: a call that reverts is a bug here, and fails the run. On the way it tries
/// one more than is allowed, which must be refused.
contract Handler is Base {
    uint256 internal constant MOST_ASSETS = 6;
    uint256 internal constant LEAST_GROUPS = 3;

    address[] internal people;
    uint256[] internal assets;
    uint256[] internal ids;
    bytes32[] internal leases;
    mapping(uint256 id => mapping(address holder => uint256)) private _leased;
    mapping(uint256 asset => bytes32) private _classOf;
    uint256 internal bought; // in the payment token

    /// No operation but a join may leave a group above a limit that it has come closer to. What a group has
    /// acquired and redeemed is looked at where it grows.
    modifier increasesEndWithinTheLimit() {
        uint256[] memory before = new uint256[](2 * people.length);
        for (uint256 i; i < before.length; ++i) {
            before[i] = ledger.heldBy(_class(i), people[i / 2]);
        }
        _;
        for (uint256 i; i < before.length; ++i) {
            if (ledger.heldBy(_class(i), people[i / 2]) > before[i]) {
                assertFalse(ledger.isOver(_class(i), people[i / 2]), "increased beyond the holding limit");
            }
        }
    }

    function setUp() public override {
        super.setUp();
        people = [provider, developer, affiliate, _actor("wallet"), _actor("subsidiary"), _actor("customer")];
        for (uint256 i = 3; i < people.length; ++i) {
            admit(people[i]);
        }
        registerAsset(40 * GPU, 0, 1, 30 * GPU, true);
        registerAsset(40 * GPU, 1, 0, 30 * GPU, false);
        openTranche(0, 0, 0);
        openTranche(0, 0, 5);
    }

    /* WHAT PEOPLE DO */

    function registerAsset(uint64 units, uint8 by, uint8 owner, uint64 share, bool compute)
        public
        increasesEndWithinTheLimit
    {
        if (assets.length == MOST_ASSETS) return;
        units = uint64(bound(units, 1, 60 * GPU));
        ILedger.Appraisal memory a = compute ? machine(units) : dataset(units);
        a.registrant = _person(by);
        (a.meterKeyX, a.meterKeyY) = publicKey(METER_KEY);
        share = uint64(bound(share, 0, units));
        uint256 asset = register(a, twoShares(_person(owner), share, a.registrant, units - share));
        assets.push(asset);
        _classOf[asset] = a.classId;
    }

    function transferUnits(uint8 which, uint8 from_, uint8 to_, uint64 units) external increasesEndWithinTheLimit {
        uint256 asset = assets[which % assets.length];
        (address from, address to) = (_person(from_), _person(to_));
        uint256 most = ledger.balanceOf(from, asset);
        if (members.rootOf(from) != members.rootOf(to)) {
            uint256 headroom = ledger.headroom(_classOf[asset], to);
            if (headroom < most) _tryTooMuch(from, address(ledger), to, asset, headroom + 1);
            most = _min(most, headroom);
        }
        vm.prank(from);
        ledger.transfer(to, asset, bound(units, 0, most));
    }

    function openTranche(uint8 which, uint8 ahead, uint8 price) public increasesEndWithinTheLimit {
        uint256 asset = assets[which % assets.length];
        uint32 window = access.currentWindow() + ahead % (HORIZON + 1);
        (bool isOpen,) = access.priceOf(access.creditId(asset, window, price));
        if (isOpen) return;
        vm.prank(ledger.assetOf(asset).operator);
        ids.push(access.open(asset, window, price, price));
    }

    function acquire(uint8 which, uint8 to_, uint64 amount) external increasesEndWithinTheLimit {
        (uint256 id, address to) = (ids[which % ids.length], _person(to_));
        uint256 most = _min(_useHeadroom(id, to), access.capacity(id >> 64) - _issued(id));
        (, uint128 price) = access.priceOf(id);
        address operator = ledger.assetOf(id >> 64).operator;
        if (price == 0) {
            vm.prank(operator);
            try access.grant(id, to, SafeCast.toUint64(most + 1)) {
                assertTrue(false, "granted too much");
            } catch {}
        }
        if (most == 0 || _isEnded(id)) return;

        amount = uint64(bound(amount, 1, most));
        if (price == 0) {
            vm.prank(operator);
            access.grant(id, to, amount);
        } else {
            buy(id, to, amount);
            bought += uint256(price) * amount;
        }
        _checkUse(id, to);
    }

    function transferCredits(uint8 which, uint8 from_, uint8 to_, uint64 amount) external increasesEndWithinTheLimit {
        uint256 id = ids[which % ids.length];
        (address from, address to) = (_person(from_), _person(to_));
        uint256 most = access.balanceOf(from, id);
        bool limited = members.rootOf(from) != members.rootOf(to) && !_isEnded(id);
        if (limited) {
            uint256 headroom = _useHeadroom(id, to);
            if (headroom < most) _tryTooMuch(from, address(access), to, id, headroom + 1);
            most = _min(most, headroom);
        }
        amount = uint64(bound(amount, 0, most));
        vm.prank(from);
        access.transfer(to, id, amount);
        if (limited && amount > 0) _checkUse(id, to);
    }

    function redeemCredits(uint8 which, uint8 holder_, uint64 amount) external increasesEndWithinTheLimit {
        (uint256 id, address holder) = (ids[which % ids.length], _person(holder_));
        (bytes32 classId, uint32 window) = _of(id);
        uint256 redeemed = access.redeemedBy(classId, window, members.rootOf(holder));
        uint256 limit = _mostUsed(classId);
        if (_isEnded(id) || !ledger.isLive(id >> 64) || redeemed >= limit) return;
        uint256 most = _min(access.balanceOf(holder, id), limit - redeemed);
        if (most == 0) return;
        amount = uint64(bound(amount, 1, most));
        leases.push(redeem(holder, id, amount));
        _leased[id][holder] += amount;
        assertLe(access.redeemedBy(classId, window, members.rootOf(holder)), limit, "redeemed too much");
    }

    function settleLease(uint8 which, uint64 gpuMs) external increasesEndWithinTheLimit {
        if (leases.length == 0) return;
        bytes32 lease = leases[which % leases.length];
        IAccess.Lease memory l = access.leaseOf(lease);
        if (block.timestamp < l.startsAt) return;
        uint256 most = (block.timestamp - l.startsAt) * ledger.assetOf(l.id >> 64).units / 1000;
        most = _min(most, uint256(l.amount) * 1000);
        // From zero: stale receipts are part of the days' work.
        settle(lease, uint64(bound(gpuMs, 0, most)));
    }

    function join(uint8 member_, uint8 controller_, bool byFinding) external {
        (address member, address controller) = (_person(member_), _person(controller_));
        if (members.rootOf(member) == members.rootOf(controller) || _groups() <= LEAST_GROUPS) return;
        byFinding ? find(member, controller) : attach(member, controller);
    }

    function pass(uint24 time) external {
        vm.warp(vm.getBlockTimestamp() + bound(time, 1, 3 days));
        nextBlock();
    }

    /* WHAT MUST HOLD */

    function checkUnits() external view {
        uint256[2] memory commons;
        for (uint256 i; i < assets.length; ++i) {
            uint256 asset = assets[i];
            uint256 sum = ledger.balanceOf(address(ledger), asset);
            commons[_classOf[asset] == GPUS ? 0 : 1] += sum;
            for (uint256 j; j < people.length; ++j) {
                sum += ledger.balanceOf(people[j], asset);
            }
            assertEq(sum, ledger.assetOf(asset).units, "balances are the asset's units");
            assertEq(sum, ledger.totalSupply(asset));
        }
        for (uint256 c; c < 2; ++c) {
            uint256 sum = commons[c];
            for (uint256 j; j < people.length; ++j) {
                sum += ledger.heldBy(_class(c), people[j]);
            }
            assertEq(sum, ledger.classOf(_class(c)).total, "groups and commons are the class's total");
        }
    }

    /// What a group is charged with is what its members have: nothing is left behind at a root of the past.
    function checkGroups() external view {
        uint256[] memory held = new uint256[](2 * people.length);
        for (uint256 j; j < people.length; ++j) {
            uint256 root = _indexOfRoot(people[j]);
            for (uint256 i; i < assets.length; ++i) {
                held[2 * root + (_classOf[assets[i]] == GPUS ? 0 : 1)] += ledger.balanceOf(people[j], assets[i]);
            }
        }
        for (uint256 i; i < held.length; ++i) {
            assertEq(ledger.heldBy(_class(i), people[i / 2]), held[i], "held is the sum of the group's balances");
        }
    }

    function checkCredits() external view {
        uint32 first = access.currentWindow();
        uint256 cells = 2 * (HORIZON + 1) * people.length;
        uint256[] memory held = new uint256[](cells);
        uint256[] memory redeemed = new uint256[](cells);
        for (uint256 j; j < people.length; ++j) {
            uint256 root = _indexOfRoot(people[j]);
            for (uint256 i; i < ids.length; ++i) {
                (bytes32 classId, uint32 window) = _of(ids[i]);
                if (window < first) continue;
                uint256 cell = _cell(classId, window - first, root);
                held[cell] += access.balanceOf(people[j], ids[i]);
                redeemed[cell] += _leased[ids[i]][people[j]];
            }
        }
        for (uint256 c; c < 2; ++c) {
            for (uint32 window = first; window <= first + HORIZON; ++window) {
                for (uint256 j; j < people.length; ++j) {
                    uint256 cell = _cell(_class(c), window - first, j);
                    uint256 acquired = access.acquiredBy(_class(c), window, people[j]);
                    assertEq(acquired, held[cell] + redeemed[cell], "acquired is held and redeemed");
                    assertEq(access.redeemedBy(_class(c), window, people[j]), redeemed[cell], "redeemed is the leases");
                }
            }
        }
    }

    function checkCapacity() external view {
        uint256[] memory sums = new uint256[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            for (uint256 j; j < people.length; ++j) {
                sums[i] += access.balanceOf(people[j], ids[i]) + _leased[ids[i]][people[j]];
            }
        }
        for (uint256 i; i < ids.length; ++i) {
            uint256 sum;
            for (uint256 k; k < ids.length; ++k) {
                if (ids[k] >> 32 == ids[i] >> 32) sum += sums[k];
            }
            assertEq(_issued(ids[i]), sum, "issued is held and redeemed, over all tranches");
            assertLe(sum, access.capacity(ids[i] >> 64), "oversold");
        }
    }

    function checkMoney() external view {
        uint256 released;
        for (uint256 i; i < leases.length; ++i) {
            IAccess.Lease memory l = access.leaseOf(leases[i]);
            (, uint128 price) = access.priceOf(l.id);
            uint256 signedMs = meter.settledMs(leases[i]);
            assertEq(l.paid, signedMs * price / 1000, "paid is what was signed for");
            assertLe(signedMs, uint256(l.amount) * 1000);
            released += l.paid;
        }
        assertEq(coin.balanceOf(address(access)), bought - released, "escrow is what was bought and not released");
    }

    /* SMALL THINGS */

    function _tryTooMuch(address from, address token, address to, uint256 id, uint256 amount) private {
        vm.prank(from);
        try IERC6909(token).transfer(to, id, amount) {
            assertTrue(false, "transferred too much");
        } catch {}
    }

    function _checkUse(uint256 id, address to) private view {
        (bytes32 classId, uint32 window) = _of(id);
        assertLe(access.acquiredBy(classId, window, members.rootOf(to)), _mostUsed(classId), "acquired too much");
        assertFalse(ledger.isOver(classId, to), "acquired while over the holding limit");
    }

    function _cell(bytes32 classId, uint256 ahead, uint256 root) private view returns (uint256) {
        return ((classId == GPUS ? 0 : 1) * (HORIZON + 1) + ahead) * people.length + root;
    }

    function _indexOfRoot(address account) private view returns (uint256 j) {
        address root = members.rootOf(account);
        while (people[j] != root) ++j;
    }

    function _groups() private view returns (uint256 count) {
        for (uint256 j; j < people.length; ++j) {
            if (members.rootOf(people[j]) == people[j]) ++count;
        }
    }

    function _useHeadroom(uint256 id, address account) private view returns (uint256) {
        (bytes32 classId, uint32 window) = _of(id);
        return access.useHeadroom(classId, window, account);
    }

    function _mostUsed(bytes32 classId) private view returns (uint256) {
        return ledger.capBase(classId) * WINDOW * USE_BPS / 1e10;
    }

    function _issued(uint256 id) private view returns (uint256) {
        (, uint32 window) = _of(id);
        return access.issued(id >> 64, window);
    }

    function _isEnded(uint256 id) private view returns (bool) {
        (, uint32 window) = _of(id);
        return window < access.currentWindow();
    }

    function _of(uint256 id) private view returns (bytes32 classId, uint32 window) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return (_classOf[id >> 64], uint32(id >> 32));
    }

    function _class(uint256 i) private pure returns (bytes32) {
        return i % 2 == 0 ? GPUS : TEXT;
    }

    function _person(uint8 i) private view returns (address) {
        return people[i % people.length];
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}

/// The books are checked after every tenth call: what is once out of balance stays so, and checking takes nine tenths of
/// the time.
/// forge-config: default.invariant.runs = 32
/// forge-config: default.invariant.depth = 100
/// forge-config: default.invariant.check-interval = 10
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: deep.invariant.check-interval = 10
/// forge-config: deep.invariant.fail-on-revert = true
contract InvariantsTest is Test {
    Handler internal handler;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = Handler.registerAsset.selector;
        selectors[1] = Handler.transferUnits.selector;
        selectors[2] = Handler.openTranche.selector;
        selectors[3] = Handler.acquire.selector;
        selectors[4] = Handler.transferCredits.selector;
        selectors[5] = Handler.redeemCredits.selector;
        selectors[6] = Handler.settleLease.selector;
        selectors[7] = Handler.join.selector;
        selectors[8] = Handler.pass.selector;
        targetSelector(FuzzSelector(address(handler), selectors));
        targetContract(address(handler));
    }

    /// One function and not five: each of them would play the same histories again.
    function invariant_booksBalance() public view {
        handler.checkUnits();
        handler.checkGroups();
        handler.checkCredits();
        handler.checkCapacity();
        handler.checkMoney();
    }
}
